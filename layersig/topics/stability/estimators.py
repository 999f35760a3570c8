"""Different scorers and data sets compared: correlation, Jaccard matrix, tests of residuals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np

from layersig.analysis.attenuation import disattenuated_correlation
from layersig.analysis.multiplicity import holm
from layersig.analysis.overlap import jaccard_matrix, uniform_law
from layersig.analysis.rankcorr import pairwise_spearman
from layersig.analysis.surrogates import MIN_BLOCKS, interior, residuals, surrogate_test
from layersig.findings.rankings import ScoreTable
from layersig.findings.shown import finite, finite_set
from layersig.findings.unit_grid import Grid
from layersig.recipe.schema import Recipe
from layersig.streams import Streams
from layersig.topics.stability.pairs import RunPairs, comparable, on_one_data_set, tested
from layersig.topics.stability.rows import EstimatorRow, MatrixRow, ResidualTestRow

_LEAST_RUNS = 3


def estimator_rows(tables: Sequence[ScoreTable], level: float) -> Iterator[EstimatorRow]:
    """Every two scorers on one data set, and those that know of none, such as carried-over rankings, on each."""
    for pairs in (each.on_common_seeds for each in comparable(tables)):
        a, b = pairs.a, pairs.b
        if a.cell.scorer == b.cell.scorer or not on_one_data_set(pairs):
            continue
        n = len(a.scores)
        raw = pairwise_spearman(np.concatenate([a.scores, b.scores]))[:n, n:]
        row = EstimatorRow(
            a=a.cell.scorer or "",
            b=b.cell.scorer or "",
            data=a.cell.data or b.cell.data,
            runs=min(n, len(b.scores)),
            correlation=finite(pairs.mean(raw)),
            reliability_a=None,
            reliability_b=None,
            corrected=None,
            shape=None,
            low=None,
            high=None,
        )
        if pairs.alike and min(n, len(b.scores)) >= _LEAST_RUNS:
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
    """Mean Jaccard index of every two rankings, and of the runs of one, over pairs of runs of different seeds."""
    for k in sizes:
        for a, b in combinations_with_replacement(tables, 2):
            pairs = RunPairs(a, b)
            if not pairs.count:
                continue
            index, n = jaccard_matrix(a.scores, b.scores, k), a.scores.shape[1]
            found = pairs.estimate(index)
            interval = found.interval(level) if found else None
            rng = Streams(recipe.root_seed).generator("runs", _name(a), _name(b), k)
            drawn = pairs.bootstrap(index, rng, recipe.analyze.resamples, level)
            yield MatrixRow(
                a=_name(a),
                b=_name(b),
                k=k,
                of=n,
                jaccard=pairs.mean(index),
                pairs=pairs.count,
                one_seed=pairs.one_seed,
                chance=uniform_law(n, k, k).jaccard_mean,
                low=max(0.0, interval.low) if interval else None,
                high=min(1.0, interval.high) if interval else None,
                bootstrap_low=drawn.low if drawn else None,
                bootstrap_high=drawn.high if drawn else None,
                level=level,
            )


def residual_test_rows(
    tables: Sequence[ScoreTable], grid: Grid, recipe: Recipe, level: float
) -> tuple[ResidualTestRow, ...]:
    """Do two rankings agree beyond module type, smooth depth and the end blocks? Corrected over all rows."""
    where = interior(grid.types, grid.depths)
    if where is None:
        return ()
    rows = []
    for pairs in tested(tables):
        a, b = (residuals(table.scores, where) for table in (pairs.a, pairs.b))
        rng = Streams(recipe.root_seed).generator("surrogates", _name(pairs.a), _name(pairs.b))
        test = surrogate_test(a, b, pairs.mask, rng, draws=recipe.analyze.resamples)
        found = pairs.estimate(a.correlation(b))
        interval = found.interval(level) if found else None
        rows.append(
            ResidualTestRow(
                a=_name(pairs.a),
                b=_name(pairs.b),
                modules=where.positions.size,
                runs_a=len(pairs.a.seeds),
                runs_b=len(pairs.b.seeds),
                pairs=pairs.count,
                one_seed=pairs.one_seed,
                correlation=test.statistic,
                low=max(-1.0, interval.low) if interval else None,
                high=min(1.0, interval.high) if interval else None,
                level=level,
                p=test.p,
                adjusted_p=test.p,
                draws=recipe.analyze.resamples,
            )
        )
    adjusted = holm(np.array([row.p for row in rows])) if rows else ()
    return tuple(row.model_copy(update={"adjusted_p": float(p)}) for row, p in zip(rows, adjusted, strict=True))


def residual_test_notes(tables: Sequence[ScoreTable], grid: Grid) -> tuple[str, ...]:
    """Why two rankings are not tested, where a model is too shallow for it."""
    if interior(grid.types, grid.depths) is not None or next(tested(tables), None) is None:
        return ()
    return (
        "Whether two rankings agree beyond module type and depth is not tested: that takes "
        f"{MIN_BLOCKS} blocks or more, and module types that lie in several of them.",
    )


def _name(table: ScoreTable) -> str:
    return table.cell.key
