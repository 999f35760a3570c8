"""Two scores of the same blocks: how far one orders them as the other does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import numpy as np

from layersig.analysis.depth_correlation import MIN_BLOCKS, beyond_depth, depth_correlation
from layersig.analysis.multiplicity import holm_by_family
from layersig.analysis.rankcorr import spearman
from layersig.findings.rankings import ScoreTable
from layersig.recipe.schema import Recipe
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.block_agreement.rows import BlockCorrelationRow
from layersig.topics.stability.pairs import comparable, on_one_data_set


def block_correlation_rows(
    tables: Sequence[ScoreTable], recipe: Recipe, level: float, declared_rankings: Set[Cell] = frozenset()
) -> tuple[BlockCorrelationRow, ...]:
    """Every two scorers on one data set, corrected over all of them, declared tests apart from the others.

    Args:
        tables: Rankings whose units are the blocks of a model, in model order.
        recipe: What was declared.
        level: Of the intervals.
        declared_rankings: The rankings that were scored after they were declared; a test of these alone is declared.
    """
    rows = list(_rows(tables, recipe, level, declared_rankings))
    adjusted = holm_by_family([row.p for row in rows], [row.declared for row in rows])
    return tuple(row.model_copy(update={"adjusted_p": p}) for row, p in zip(rows, adjusted, strict=True))


def _rows(
    tables: Sequence[ScoreTable], recipe: Recipe, level: float, declared_rankings: Set[Cell]
) -> Iterator[BlockCorrelationRow]:
    for pairs in comparable(tables):
        a, b = pairs.a, pairs.b
        one, other = a.scores.mean(axis=0), b.scores.mean(axis=0)
        alike = any(np.ptp(scores[1:]) == 0 for scores in (one, other))
        if a.cell.scorer == b.cell.scorer or not on_one_data_set(pairs) or one.size <= MIN_BLOCKS or alike:
            continue
        names = (a.cell.scorer or "", b.cell.scorer or "")
        data = a.cell.data or b.cell.data
        every, inner = (depth_correlation(one[first:], other[first:], level) for first in (0, 1))
        single = list(_by_seed(a, b))
        rng = Streams(recipe.root_seed).generator("block agreement", *names, data or "")
        test = beyond_depth(one, other, rng, recipe.analyze.resamples)
        yield BlockCorrelationRow(
            a=names[0],
            b=names[1],
            data=data,
            checkpoint=a.cell.checkpoint or b.cell.checkpoint,
            runs=len(single),
            blocks=one.size,
            correlation=every.value,
            low=every.low,
            high=every.high,
            level=level,
            effective=every.effective,
            run_low=min(single, default=every.value),
            run_high=max(single, default=every.value),
            inner=inner.value,
            inner_low=inner.low,
            inner_high=inner.high,
            residual=test.statistic if test else None,
            declared=a.run_cells | b.run_cells <= declared_rankings,
            p=test.p if test else None,
            adjusted_p=None,
            draws=recipe.analyze.resamples,
        )


def _by_seed(a: ScoreTable, b: ScoreTable) -> Iterator[float]:
    """The correlation in every seed that both have, where neither scores all blocks alike."""
    for seed, one in zip(a.seeds, a.scores, strict=True):
        for other_seed, other in zip(b.seeds, b.scores, strict=True):
            if seed == other_seed and np.ptp(one) > 0 and np.ptp(other) > 0:
                yield spearman(one, other)
