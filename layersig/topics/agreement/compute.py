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
    rows: tuple[int, int]
    """Of the two among all rankings, see `_scores`."""
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
    pairs = list(_pairs(tables, sampled))
    if not pairs:
        return ()
    types, scores, n = _types(layers), _scores(tables), len(layers)
    # What depends on one ranking or on none is found once: pairs are many.
    chosen = {k: membership(scores, k) for k in sizes}
    jaccard = {k: jaccard_matrix(scores, scores, k) for k in sizes}
    laws = {k: uniform_law(n, k, k) for k in sizes}
    chance = {k: (law.jaccard_mean, *law.jaccard_range()) for k, law in laws.items()}
    rows = []
    for pair in pairs:
        rng = Streams(root).generator("ties", pair.a.key, pair.b.key)
        a, b = (scores[row] for row in pair.rows)
        for k in sizes:
            first, second = (chosen[k][row] for row in pair.rows)
            shared = float(first @ second)
            typed = law_given_strata(random_top_k(a, k, rng), random_top_k(b, k, rng), types)
            p_uniform, p_type = (1.0, 1.0) if k == n else relabelling_tests(a, b, k, types, rng)
            mean, low, high = chance[k]
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
                    jaccard=float(jaccard[k][pair.rows]),
                    kappa=laws[k].kappa(shared) if k < n else None,
                    chance_jaccard=mean,
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
    n, scores = len(layers), _scores(tables)
    typed = _type_counts(scores, _types(layers))
    ks = np.arange(1, n)
    laws = [uniform_law(n, int(k), int(k)) for k in ks]
    bands = np.array([[law.kappa(end) for end in law.overlap_range()] for law in laws])
    rows = []
    for group, found in grouped.items():
        pairs = [pair for pair in found if not pair.one_training] or found
        a, b = np.array([pair.rows for pair in pairs]).T
        curves, expected = kappa_curve(scores[a], scores[b]), _type_kappa(typed, a, b).mean(axis=0)
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


def _scores(tables: Sequence[ScoreTable]) -> FloatArray:
    """The scores of all rankings, a row each, shape (rankings, N)."""
    return np.concatenate([table.scores for table in tables])


def _pairs(tables: Sequence[ScoreTable], sampled: Mapping[str, Sample]) -> Iterator[_Pair]:
    cells = [table.run_cell(row) for table in tables for row in range(len(table.seeds))]
    for (i, a), (j, b) in combinations(enumerate(cells), 2):
        yield _Pair(a, b, (i, j), are_halves(a.data, b.data, sampled))


def _comparable(pair: _Pair) -> bool:
    if "scorer" in pair.differ:
        others = (axis for axis in _AXES if axis not in ("scorer", "seed"))
        cells = ((getattr(pair.a, axis), getattr(pair.b, axis)) for axis in others)
        return all(one == other or None in (one, other) for one, other in cells)
    return len(pair.differ) == 1 or pair.differ in (("data", "seed"), ("half", "seed"))


def _types(layers: Sequence[LayerRow]) -> IntArray:
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(layer.kind for layer in layers))}
    return np.array([codes[layer.kind] for layer in layers], dtype=np.int64)


def _type_counts(scores: FloatArray, types: IntArray) -> list[tuple[int, FloatArray]]:
    """Of every type its size, and how many of it are among the first k of every ranking, shape (rankings, N - 1)."""
    ks = np.arange(1, types.size)
    chosen = [membership(one, ks[:, None]) for one in scores]
    kinds = [types == code for code in np.unique(types)]
    return [(int(kind.sum()), np.stack([each[:, kind].sum(axis=1) for each in chosen])) for kind in kinds]


def _type_kappa(counts: Sequence[tuple[int, FloatArray]], a: IntArray, b: IntArray) -> FloatArray:
    """Kappa expected from the per-type counts alone, shape (pairs, N - 1): E overlap is the sum of a_t b_t / n_t."""
    n = sum(size for size, _ in counts)
    ks = np.arange(1, n)
    expected = np.zeros((a.size, n - 1))
    for size, of_type in counts:
        expected += of_type[a] * of_type[b] / size
    return np.asarray((expected * n - ks * ks) / (ks * (n - ks)))
