"""Agreement of rankings: every pair at the sizes that arms select, and groups of pairs as curves over k."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.overlap import jaccard_matrix, kappa_curve, law_given_strata, relabelling_tests, uniform_law
from layersig.analysis.selections import membership, random_top_k
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.samples import Sample, are_halves
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.agreement.rows import CurveRow, OverlapRow

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_AXES = ("scorer", "data", "checkpoint", "seed")


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    a: Cell
    b: Cell
    scores_a: FloatArray
    scores_b: FloatArray
    halves: bool
    """Whether their data are the halves of one data set."""

    @property
    def differ(self) -> tuple[str, ...]:
        """The axes of the grid on which the two rankings stand apart, `half` for the halves of one data set."""
        axes = (axis for axis in _AXES if getattr(self.a, axis) != getattr(self.b, axis))
        return tuple("half" if axis == "data" and self.halves else axis for axis in axes)

    @property
    def one_training(self) -> bool:
        """Whether two scorers may have read the training of one seed."""
        return self.a.scorer != self.b.scorer and self.a.seed is not None and self.a.seed == self.b.seed

    @property
    def group(self) -> str:
        """What is compared with what, seeds and data sets not named."""
        scorers = sorted({str(self.a.scorer), str(self.b.scorer)})
        others = [axis for axis in self.differ if axis != "scorer"]
        if len(scorers) == 2:
            return " and ".join(scorers)
        return f"{scorers[0]}, other {' and '.join(others)}"


def overlap_rows(
    tables: Sequence[ScoreTable],
    layers: Sequence[LayerRow],
    sizes: Sequence[int],
    sampled: Mapping[str, Sample],
    root: int = 0,
) -> tuple[OverlapRow, ...]:
    """Overlap of every pair of rankings at every size, beside the uniform and the type-stratified chance level.

    Args:
        tables: The rankings.
        layers: The units that they rank.
        sizes: Sizes of the selections.
        sampled: What every entry of `[[data]]` is a sample of.
        root: The recipe's root seed, for ties.
    """
    types = _types(layers)
    rows = []
    for pair in _pairs(tables, sampled):
        rng = Streams(root).generator("ties", pair.a.key, pair.b.key)
        for k in sizes:
            n = pair.scores_a.size
            a, b = membership(pair.scores_a, k), membership(pair.scores_b, k)
            shared = float(a @ b)
            uniform = uniform_law(n, k, k)
            typed = law_given_strata(random_top_k(pair.scores_a, k, rng), random_top_k(pair.scores_b, k, rng), types)
            p_uniform, p_type = (1.0, 1.0) if k == n else relabelling_tests(pair.scores_a, pair.scores_b, k, types, rng)
            low, high = uniform.jaccard_range()
            type_low, type_high = typed.jaccard_range()
            rows.append(
                OverlapRow(
                    a=pair.a.key,
                    b=pair.b.key,
                    group=pair.group,
                    differ="+".join(pair.differ),
                    k=k,
                    of=n,
                    shared=shared,
                    jaccard=float(jaccard_matrix(pair.scores_a[None], pair.scores_b[None], k)[0, 0]),
                    kappa=uniform.kappa(shared) if k < n else None,
                    chance_jaccard=uniform.jaccard_mean,
                    chance_low=low,
                    chance_high=high,
                    type_jaccard=typed.jaccard_mean,
                    type_low=type_low,
                    type_high=type_high,
                    p_uniform=p_uniform,
                    p_type=p_type,
                )
            )
    return tuple(rows)


def agreement_rows(
    tables: Sequence[ScoreTable], layers: Sequence[LayerRow], sampled: Mapping[str, Sample]
) -> tuple[CurveRow, ...]:
    """Chance-corrected agreement over k of groups of pairs.

    Pairs of two scorers count when they share data set and checkpoint where both have one, and come from different
    seeds where there are several, since runs of one seed may share a training; pairs of one scorer when exactly one of
    seed, data set (or half of one) or checkpoint differs, and other data sets with other seeds.
    """
    grouped: dict[str, list[_Pair]] = {}
    for pair in _pairs(tables, sampled):
        if _comparable(pair):
            grouped.setdefault(pair.group, []).append(pair)
    if not grouped:
        return ()
    n, types = len(layers), _types(layers)
    ks = np.arange(1, n)
    laws = [uniform_law(n, int(k), int(k)) for k in ks]
    bands = np.array([[law.kappa(end) for end in law.overlap_range()] for law in laws])
    rows = []
    for group, found in grouped.items():
        pairs = [pair for pair in found if not pair.one_training] or found
        a, b = np.stack([pair.scores_a for pair in pairs]), np.stack([pair.scores_b for pair in pairs])
        curves, expected = kappa_curve(a, b), _type_kappa(a, b, types).mean(axis=0)
        for i, k in enumerate(ks):
            rows.append(
                CurveRow(
                    group=group,
                    pairs=len(pairs),
                    k=int(k),
                    of=n,
                    kappa=float(curves[:, i].mean()),
                    kappa_low=float(curves[:, i].min()),
                    kappa_high=float(curves[:, i].max()),
                    chance_low=float(bands[i, 0]),
                    chance_high=float(bands[i, 1]),
                    type_kappa=float(expected[i]),
                )
            )
    return tuple(rows)


def _pairs(tables: Sequence[ScoreTable], sampled: Mapping[str, Sample]) -> Iterator[_Pair]:
    runs = [(table.run_cell(row), table.scores[row]) for table in tables for row in range(len(table.seeds))]
    for (a, scores_a), (b, scores_b) in combinations(runs, 2):
        yield _Pair(a, b, scores_a, scores_b, are_halves(a.data, b.data, sampled))


def _comparable(pair: _Pair) -> bool:
    if "scorer" in pair.differ:
        others = (axis for axis in _AXES if axis not in ("scorer", "seed"))
        cells = ((getattr(pair.a, axis), getattr(pair.b, axis)) for axis in others)
        return all(one == other or None in (one, other) for one, other in cells)
    return len(pair.differ) == 1 or pair.differ in (("data", "seed"), ("half", "seed"))


def _types(layers: Sequence[LayerRow]) -> IntArray:
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(layer.kind for layer in layers))}
    return np.array([codes[layer.kind] for layer in layers], dtype=np.int64)


def _type_kappa(a: FloatArray, b: FloatArray, types: IntArray) -> FloatArray:
    """Kappa expected from the per-type counts alone, shape (pairs, N - 1): E overlap is the sum of a_t b_t / n_t."""
    n = types.size
    ks = np.arange(1, n)
    expected = np.zeros((a.shape[0], n - 1))

    def counts(scores: FloatArray, members: NDArray[np.bool_]) -> FloatArray:
        return np.stack([membership(one, ks[:, None])[:, members].sum(axis=1) for one in scores])

    for code in np.unique(types):
        members = types == code
        expected += counts(a, members) * counts(b, members) / int(members.sum())
    return np.asarray((expected * n - ks * ks) / (ks * (n - ks)))
