"""Different scorers and data sets beside each other: correlation, Jaccard matrix, tests of overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.attenuation import disattenuated_correlation
from layersig.analysis.overlap import (
    jaccard,
    jaccard_bootstrap_runs,
    jaccard_test_uniform,
    jaccard_test_within_strata,
    top_k,
    uniform_law,
)
from layersig.analysis.rankcorr import pairwise_spearman
from layersig.analysis.surrogates import surrogate_test
from layersig.findings.fractions import finite, finite_set
from layersig.findings.grid import Grid
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows import EstimatorRow, MatrixRow, OverlapTestRow
from layersig.recipe.schema import Recipe
from layersig.streams import Streams

FloatArray = NDArray[np.float64]

_LEAST_RUNS = 3


def estimator_rows(tables: Sequence[ScoreTable], level: float) -> Iterator[EstimatorRow]:
    """Every two scorers on one data set, and those that know of none, such as carried-over rankings, on each."""
    for a, b in _pairs(tables):
        if a.cell.scorer == b.cell.scorer or not _on_one(a, b):
            continue
        n = len(a.scores)
        raw = pairwise_spearman(np.concatenate([a.scores, b.scores]))[:n, n:][_unlike_seeds(a, b)]
        row = EstimatorRow(
            a=a.cell.scorer or "",
            b=b.cell.scorer or "",
            data=a.cell.data or b.cell.data,
            runs=min(n, len(b.scores)),
            correlation=finite(float(raw.mean())),
            reliability_a=None,
            reliability_b=None,
            corrected=None,
            shape=None,
            low=None,
            high=None,
        )
        if min(n, len(b.scores)) >= _LEAST_RUNS:
            seeds = np.array([*a.seeds, *b.seeds], dtype=np.int64)
            found = disattenuated_correlation(a.scores, b.scores, level, seeds)
            shown = finite_set(found.corrected)
            row = row.model_copy(
                update={
                    "reliability_a": finite(found.reliability_a),
                    "reliability_b": finite(found.reliability_b),
                    "corrected": shown.ratio,
                    "shape": shown.shape,
                    "low": shown.low,
                    "high": shown.high,
                }
            )
        yield row


def matrix_rows(
    tables: Sequence[ScoreTable], sizes: Sequence[int], recipe: Recipe, level: float
) -> Iterator[MatrixRow]:
    """Mean Jaccard index of every two rankings; a ranking with itself counts pairs of different seeds."""
    for k in sizes:
        masks = [top_k(table.scores, k) for table in tables]
        for i, j in combinations_with_replacement(range(len(tables)), 2):
            shared = masks[i].astype(np.float64) @ masks[j].T.astype(np.float64)
            index = shared / (2 * k - shared)
            values = index[np.triu_indices(len(masks[i]), 1)] if i == j else index.ravel()
            if values.size:
                n = tables[i].scores.shape[1]
                interval = None
                if i != j and min(index.shape) > 1:
                    rng = Streams(recipe.root_seed).generator("runs", _name(tables[i]), _name(tables[j]), k)
                    interval = jaccard_bootstrap_runs(masks[i], masks[j], rng, recipe.analyze.resamples, level)
                yield MatrixRow(
                    a=_name(tables[i]),
                    b=_name(tables[j]),
                    k=k,
                    of=n,
                    jaccard=float(values.mean()),
                    pairs=values.size,
                    chance=uniform_law(n, k, k).jaccard_mean,
                    low=interval.low if interval else None,
                    high=interval.high if interval else None,
                    level=level,
                )


def overlap_test_rows(
    tables: Sequence[ScoreTable], sizes: Sequence[int], grid: Grid, recipe: Recipe
) -> Iterator[OverlapTestRow]:
    """Permutation tests of the Jaccard index of two seed-averaged rankings, each beside what it assumes."""
    for a, b in _pairs(tables):
        if a.cell.scorer != b.cell.scorer and not _on_one(a, b):
            continue
        pair = np.stack([a.scores.mean(axis=0), b.scores.mean(axis=0)])
        n = pair.shape[1]
        for k in (size for size in sizes if 0 < size < n):
            first, second = top_k(pair, k)
            uniform = jaccard_test_uniform(first, second)
            typed = jaccard_test_within_strata(first, second, grid.types)
            found: list[tuple[str, float, int | None, str, bool]] = [
                ("uniform permutation", uniform.p, None, "any layer could take any other's place", False),
                (
                    "permutation within module types",
                    typed.p,
                    None,
                    "within a type, depth does not matter",
                    False,
                ),
            ]
            if grid.modules is not None and min(grid.modules.index.shape, default=0) > 1:
                rng = Streams(recipe.root_seed).generator("surrogates", _name(a), _name(b), k)
                kept = surrogate_test(pair, grid.modules, np.arange(2), rng, k=k, draws=recipe.analyze.resamples)
                assumption = "scores are stationary over depth, equally smooth in every block"
                found.append(("depth-preserving surrogates", kept.p, kept.resamples, assumption, True))
            for test, p, draws, assumes, holds in found:
                yield OverlapTestRow(
                    a=_name(a),
                    b=_name(b),
                    k=k,
                    of=n,
                    jaccard=jaccard(first, second),
                    test=test,
                    p=p,
                    draws=draws,
                    assumes=assumes,
                    holds=holds,
                )


def _pairs(tables: Sequence[ScoreTable]) -> Iterator[tuple[ScoreTable, ScoreTable]]:
    """Scorers that look at the model, at the same checkpoint where both have one."""
    for a, b in combinations([table for table in tables if not table.control], 2):
        if None in (a.cell.checkpoint, b.cell.checkpoint) or a.cell.checkpoint == b.cell.checkpoint:
            yield a, b


def _unlike_seeds(a: ScoreTable, b: ScoreTable) -> NDArray[np.bool_]:
    """Pairs of runs of different seeds, since runs of one seed may share a training; all pairs where there are none."""
    unlike = np.array([[one != other for other in b.seeds] for one in a.seeds])
    return unlike if unlike.any() else np.ones_like(unlike)


def _on_one(a: ScoreTable, b: ScoreTable) -> bool:
    """Whether two rankings are on one data set, as far as they know of any."""
    return a.cell.data == b.cell.data or None in (a.cell.data, b.cell.data)


def _name(table: ScoreTable) -> str:
    return table.cell.key
