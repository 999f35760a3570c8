"""Permutation tests of the overlap of two rankings, beside chance and the noise ceiling: descriptive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.agreement_sentences import OverlapTest, overlap_test_sentence
from layersig.analysis.multiplicity import holm
from layersig.analysis.overlap import jaccard_matrix, pairwise_kappa, relabelling_tests, uniform_law
from layersig.analysis.selections import membership
from layersig.findings.rankings import ScoreTable
from layersig.findings.unit_grid import Grid
from layersig.recipe.schema import Recipe
from layersig.streams import Streams
from layersig.topics.stability.pairs import RunPairs, tested
from layersig.topics.stability.rows import OverlapTestRow

FloatArray = NDArray[np.float64]

_TESTS = (
    ("uniform permutation", "any layer could take any other's place"),
    ("permutation within module types", "within a type, depth does not matter"),
)


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """What different seeds of one ranking share, and what different seeds of both do: kappa and Jaccard index."""

    jaccard: float | None
    ratio: float | None


def overlap_test_rows(
    tables: Sequence[ScoreTable], sizes: Sequence[int], grid: Grid, recipe: Recipe
) -> tuple[OverlapTestRow, ...]:
    """Tests of the Jaccard index of two seed-averaged rankings, each corrected over all pairs and sizes.

    Args:
        tables: The rankings.
        sizes: Sizes of the selections.
        grid: Types of the units.
        recipe: What was declared.
    """
    asked = [(pairs, k) for pairs in tested(tables) for k in sizes if 0 < k < grid.types.size]
    if not asked:
        return ()
    p = np.array([_p_values(pairs, k, grid, recipe) for pairs, k in asked])
    adjusted = np.stack([holm(one) for one in p.T], axis=1)
    rows = []
    for number, (pairs, k) in enumerate(asked):
        a, b, n = pairs.a.cell.key, pairs.b.cell.key, grid.types.size
        mean_a, mean_b = (table.scores.mean(axis=0)[None] for table in (pairs.a, pairs.b))
        jaccard, chance = float(jaccard_matrix(mean_a, mean_b, k)[0, 0]), uniform_law(n, k, k).jaccard_mean
        ceiling = _ceiling(pairs, k)
        for place, (test, assumes) in enumerate(_TESTS):
            found = OverlapTest(jaccard, chance, float(adjusted[number, place]), len(asked), recipe.analyze.alpha)
            rows.append(
                OverlapTestRow(
                    a=a,
                    b=b,
                    k=k,
                    of=n,
                    jaccard=jaccard,
                    chance=chance,
                    test=test,
                    p=float(p[number, place]),
                    adjusted_p=found.adjusted_p,
                    tests=found.tests,
                    assumes=assumes,
                    verdict=found.verdict.value,
                    ceiling=ceiling.jaccard,
                    ratio=ceiling.ratio,
                    sentence=overlap_test_sentence(
                        found, (pairs.a.named, pairs.b.named), k, n, test, assumes, ceiling.ratio
                    ),
                )
            )
    return tuple(rows)


def _p_values(pairs: RunPairs, k: int, grid: Grid, recipe: Recipe) -> tuple[float, float]:
    a, b = (table.scores.mean(axis=0) for table in (pairs.a, pairs.b))
    rng = Streams(recipe.root_seed).generator("ties", pairs.a.cell.key, pairs.b.cell.key, k)
    return relabelling_tests(a, b, k, grid.types, rng)


def _ceiling(pairs: RunPairs, k: int) -> _Ceiling:
    own = [RunPairs(table, table) for table in (pairs.a, pairs.b)]
    if not all(each.count for each in own):
        return _Ceiling(None, None)
    index = [each.mean(jaccard_matrix(each.a.scores, each.a.scores, k)) for each in own]
    split, scores = len(pairs.a.seeds), np.concatenate([pairs.a.scores, pairs.b.scores])
    kappa = pairwise_kappa(membership(scores, k))
    within = (own[0].mean(kappa[:split, :split]) + own[1].mean(kappa[split:, split:])) / 2
    ratio = None if within <= 0 or pairs.one_seed else pairs.mean(kappa[:split, split:]) / within
    return _Ceiling(float(np.mean(index)), ratio)
