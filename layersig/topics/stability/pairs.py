"""Two rankings, or one with itself: which of their runs are compared, and how sure a mean over them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.jackknife import bootstrap_mean, jackknife_mean
from layersig.analysis.results import Estimate, Interval
from layersig.findings.rankings import ScoreTable

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

Kind = TypeVar("Kind", np.float64, np.bool_)

_LEAST_SEEDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class RunPairs:
    """Pairs of runs of different seeds, since runs of one seed may share a training; all pairs where there are none.

    A ranking without a seed depends on none: it is paired with every run, and no jackknife leaves it out.
    """

    a: ScoreTable
    b: ScoreTable

    @property
    def itself(self) -> bool:
        """Whether a ranking is compared with its own other runs."""
        return self.a is self.b

    @property
    def _unlike(self) -> BoolArray:
        return np.array([[None in (one, other) or one != other for other in self.b.seeds] for one in self.a.seeds])

    @property
    def one_seed(self) -> bool:
        """Whether there are only runs of one seed to pair."""
        return not self._unlike.any()

    @property
    def mask(self) -> BoolArray:
        """Which runs are compared, shape (runs of a, runs of b)."""
        return np.ones_like(self._unlike) if self.one_seed else self._unlike

    @property
    def alike(self) -> bool:
        """Whether both have the same seeds, or none in common: a jackknife can then leave out one after another."""
        a, b = set(self.a.seeds), set(self.b.seeds)
        return a == b or not a & b

    @property
    def on_common_seeds(self) -> RunPairs:
        """The runs of seeds that both have; all runs where too few of these are common."""
        common = [seed for seed in self.a.seeds if seed in self.b.seeds]
        if self.alike or len(common) < _LEAST_SEEDS:
            return self
        return RunPairs(_of(self.a, common), _of(self.b, common))

    @property
    def count(self) -> int:
        """Number of pairs; those of a ranking with itself count once."""
        if self.itself:
            return 0 if self.one_seed else int(self.mask.sum()) // 2
        return int(self.mask.sum())

    def mean(self, index: FloatArray) -> float:
        """Mean over the pairs of an index of shape (runs of a, runs of b)."""
        return float(index[self.mask].mean())

    def estimate(self, index: FloatArray) -> Estimate | None:
        """The mean with its delete-one-seed jackknife error; None with fewer than three seeds."""
        units, strata = self._seeds()
        if self.one_seed or strata.size == 0 or np.bincount(strata).min() < _LEAST_SEEDS:
            return None
        return jackknife_mean(self._square(index), self._square(self.mask), units, strata)

    def bootstrap(self, index: FloatArray, rng: np.random.Generator, draws: int, level: float) -> Interval | None:
        """A percentile interval over seeds drawn with replacement; None where there is no estimate."""
        if self.estimate(index) is None:
            return None
        units, strata = self._seeds()
        square, pairs = self._square(index), self._square(self.mask)
        return bootstrap_mean(square, pairs, units, strata, rng, draws=draws, level=level)

    def _seeds(self) -> tuple[IntArray, IntArray]:
        """The seed of every run as a number (-1: none), and for every seed which of the rankings have runs of it."""
        tables = (self.a,) if self.itself else (self.a, self.b)
        known = sorted({seed for table in tables for seed in table.seeds if seed is not None})
        units = [-1 if seed is None else known.index(seed) for table in tables for seed in table.seeds]
        present = [[seed in table.seeds for table in tables] for seed in known]
        kinds = sorted(set(map(tuple, present)))
        return np.array(units, dtype=np.int64), np.array([kinds.index(tuple(row)) for row in present], dtype=np.int64)

    def _square(self, block: NDArray[Kind]) -> NDArray[Kind]:
        if self.itself:
            return block
        a, b = block.shape
        out = np.zeros((a + b, a + b), dtype=block.dtype)
        out[:a, a:], out[a:, :a] = block, block.T
        return out


def _of(table: ScoreTable, seeds: list[int | None]) -> ScoreTable:
    return replace(table, seeds=tuple(seeds), scores=table.scores[[table.seeds.index(seed) for seed in seeds]])


def comparable(tables: Sequence[ScoreTable]) -> Iterator[RunPairs]:
    """Every two rankings of scorers that look at the model, at the same checkpoint where both have one."""
    for a, b in combinations([table for table in tables if not table.control], 2):
        if None in (a.cell.checkpoint, b.cell.checkpoint) or a.cell.checkpoint == b.cell.checkpoint:
            yield RunPairs(a, b)


def on_one_data_set(pairs: RunPairs) -> bool:
    """Whether two rankings are on one data set, as far as they know of any."""
    a, b = pairs.a.cell.data, pairs.b.cell.data
    return a == b or None in (a, b)


def tested(tables: Sequence[ScoreTable]) -> Iterator[RunPairs]:
    """Rankings of one scorer on different data sets, and of different scorers on one."""
    for pairs in comparable(tables):
        if pairs.a.cell.scorer == pairs.b.cell.scorer or on_one_data_set(pairs):
            yield pairs
