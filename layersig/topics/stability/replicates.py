"""Rankings of one scorer over data sets, halves of them, seeds, and repeats of the scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.agreement import RunDesign
from layersig.findings.rankings import ScoreTable
from layersig.findings.samples import Sample, sample_of, samples
from layersig.recipe.schema import Recipe
from layersig.records import Cell

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """Rankings of one scorer over data and seeds, every entry of `[[data]]` with the same seeds.

    Attributes:
        scorer: Name of the scorer.
        kind: Its registered kind.
        checkpoint: Its checkpoint.
        data: Labels of the entries of `[[data]]`.
        samples: What each of them is a sample of.
        seeds: Values of the seed axis.
        scores: Shape (data, seeds, units).
        repeats: Scores by the same scorer with other random streams on the same trainings, shape (repeats, data, seeds,
            units); None where the recipe has no such scorer.
    """

    scorer: str
    kind: str
    checkpoint: float | None
    data: tuple[str, ...]
    samples: tuple[Sample, ...]
    seeds: tuple[int, ...]
    scores: FloatArray
    repeats: FloatArray | None = None

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the data sets; two halves are one."""
        return tuple(dict.fromkeys(sample.data_set for sample in self.samples))

    @property
    def halved(self) -> bool:
        """Whether every data set is there in two halves."""
        return all(sample.half is not None for sample in self.samples)

    @property
    def apart(self) -> Replicates:
        """The rankings that data sets are compared by: those of both halves where every data set has them, else one."""
        if self.halved:
            return self
        kept = [place for place, sample in enumerate(self.samples) if sample.half in (None, 0)]
        return self.of(kept)

    @property
    def halves(self) -> Mapping[str, Replicates]:
        """The rankings on the two halves of every data set that has them, by its name."""
        places: dict[str, list[int]] = {}
        for place, sample in enumerate(self.samples):
            if sample.half is not None:
                places.setdefault(sample.data_set, []).append(place)
        return {name: self.of(both) for name, both in places.items()}

    @property
    def nested(self) -> FloatArray:
        """Scores, shape (data sets, halves or 1, seeds, repeats of the scoring or 1, units)."""
        width = 2 if self.halved else 1
        order = sorted(range(len(self.data)), key=lambda place: self.data_sets.index(self.samples[place].data_set))
        runs = self.scores[None] if self.repeats is None else np.concatenate([self.scores[None], self.repeats])
        kept = np.moveaxis(runs[:, order], 0, 2)
        return kept.reshape(len(order) // width, width, *kept.shape[1:])

    @property
    def cells(self) -> frozenset[Cell]:
        """The cells of the rankings, without repeats of the scoring."""
        return frozenset(
            Cell(scorer=self.scorer, data=data, seed=seed, checkpoint=self.checkpoint)
            for data in self.data
            for seed in self.seeds
        )

    def of(self, places: Sequence[int]) -> Replicates:
        """The rankings on some of the entries."""
        return Replicates(
            self.scorer,
            self.kind,
            self.checkpoint,
            tuple(self.data[place] for place in places),
            tuple(self.samples[place] for place in places),
            self.seeds,
            self.scores[list(places)],
            None if self.repeats is None else self.repeats[:, list(places)],
        )

    @property
    def runs(self) -> FloatArray:
        """Scores, shape (data x seeds, units)."""
        return self.scores.reshape(-1, self.scores.shape[-1])

    @property
    def design(self) -> RunDesign:
        """An entry of `[[data]]` is a cell; equal seeds share initialisation and order, so are left out together."""
        return self._design(np.arange(len(self.data)))

    @property
    def data_set_design(self) -> RunDesign:
        """A data set is a cell, and its halves are samples of it."""
        cells = np.array([self.data_sets.index(sample.data_set) for sample in self.samples])
        halves = np.array([sample.half or 0 for sample in self.samples])
        return self._design(cells, halves if self.halved else None)

    def _design(self, cells: NDArray[np.int64], halves: NDArray[np.int64] | None = None) -> RunDesign:
        seeds, count = np.array(self.seeds, dtype=np.int64), len(self.seeds)
        return RunDesign(
            np.repeat(cells, count),
            np.tile(seeds, len(self.data)) if len(self.data) > 1 else None,
            None if halves is None else np.repeat(halves, count),
        )


def replicates(tables: Sequence[ScoreTable], recipe: Recipe) -> tuple[Replicates, ...]:
    """Scorers that look at the model, with at least two seeds on every data set; ragged ones keep common seeds.

    A scorer that differs from an earlier one in its `stream` alone is a repeat of it, and has no rankings of its own
    here.
    """
    sampled, originals = samples(recipe), _originals(recipe)
    grouped: dict[tuple[str, float | None], list[ScoreTable]] = {}
    for table in tables:
        if not table.control:
            grouped.setdefault((table.cell.scorer or "", table.cell.checkpoint), []).append(table)
    found = []
    for (scorer, checkpoint), members in grouped.items():
        if scorer in originals:
            continue
        others = [rows for (name, at), rows in grouped.items() if at == checkpoint and originals.get(name) == scorer]
        known = [{seed for seed in table.seeds if seed is not None} for table in chain(members, *others)]
        seeds = tuple(sorted(set.intersection(*known)))
        if len(seeds) < 2:
            continue
        data = tuple(table.cell.data or "" for table in members)
        found.append(
            Replicates(
                scorer,
                members[0].kind,
                checkpoint,
                data,
                tuple(sample_of(name, sampled) for name in data),
                seeds,
                _scores(members, seeds),
                np.stack([_scores(rows, seeds) for rows in others]) if others else None,
            )
        )
    return tuple(found)


def _scores(tables: Sequence[ScoreTable], seeds: Sequence[int]) -> FloatArray:
    """Shape (tables, seeds, units)."""
    return np.stack([table.scores[[table.seeds.index(seed) for seed in seeds]] for table in tables])


def _originals(recipe: Recipe) -> Mapping[str, str]:
    """The scorer that another one repeats, by the name of the repeat."""
    found: dict[str, str] = {}
    for name, choice in recipe.scorers.items():
        for other, earlier in recipe.scorers.items():
            if other == name:
                break
            alike = earlier.model_copy(update={"stream": choice.stream}) == choice
            if other not in found and alike and earlier.stream != choice.stream:
                found[name] = other
                break
    return found
