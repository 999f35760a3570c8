"""Retention without each block, with bands over the blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from layersig.analysis.results import Interval
from layersig.analysis.retention import RatioPart, mean_of_ratios, ratio_of_tables
from layersig.analysis.simultaneous import LargestT
from layersig.findings.arms import Arms
from layersig.findings.outcomes import Measure
from layersig.findings.plan import Plan
from layersig.findings.shown import finite_set
from layersig.recipe.schema import Recipe
from layersig.records import labelled_block
from layersig.topics.blocks.compute import largest_t
from layersig.topics.blocks.rows import BlockMeanRow, BlockRetentionRow
from layersig.topics.blocks.sweep import Sweep, generator_of
from layersig.topics.retention.compute import class_rows, ratio_parts, retention_rows
from layersig.topics.retention.rows import RetentionRow


def block_retention_rows(
    found: Sequence[Sweep], recipe: Recipe, model: str
) -> tuple[tuple[BlockRetentionRow, ...], tuple[BlockMeanRow, ...]]:
    """Retention without each block, by task and as the mean over the tasks of a format."""
    by_task: list[BlockRetentionRow] = []
    means: list[BlockMeanRow] = []
    for sweep in found:
        arms = Arms(sweep.outcomes, recipe, Plan(recipe, frozenset()), model)
        kept = retention_rows(arms, sweep.floors, sweep.records)
        by_task += _kept_by_task(sweep, arms, kept)
        means += _kept_by_format(sweep, arms, kept)
    return tuple(by_task), tuple(means)


def _kept_by_task(sweep: Sweep, arms: Arms, kept: Sequence[RetentionRow]) -> Iterator[BlockRetentionRow]:
    for task, metric in dict.fromkeys((row.task, row.metric) for row in kept):
        rows = sorted((row for row in kept if (row.task, row.metric) == (task, metric)), key=_block_of)
        parts = {row.arm: ratio_parts(arms, [row])[0] for row in rows if row.shape is not None}
        law = _law_of_ratios(
            [[part] for part in parts.values()], generator_of(arms.recipe, sweep, "retention", task, metric)
        )
        shares = arms.outcomes.items[Measure(task, metric)].shares
        for row in rows:
            part, band = parts.get(row.arm), finite_set(None)
            if part is not None and law is not None:
                whole = ratio_of_tables(
                    part.numerator, part.denominator, law.single_level(arms.level), shares, part.added
                )
                band = finite_set(whole.from_zero())
            yield BlockRetentionRow(
                scorer=sweep.cell.scorer or "",
                data=sweep.cell.data,
                seed=sweep.cell.seed,
                task=task,
                metric=metric,
                primary=row.primary,
                format=row.format,
                block=_block_of(row),
                whole=row.base,
                without=row.value,
                retention=row.retention,
                shape=row.shape,
                low=row.low,
                high=row.high,
                band_shape=band.shape,
                band_low=band.low,
                band_high=band.high,
                floor=row.floor,
                at_floor=row.at_floor,
                corrected=row.corrected,
                corrected_shape=row.corrected_shape,
                corrected_low=row.corrected_low,
                corrected_high=row.corrected_high,
                level=row.level,
                n=row.n,
                no_interval=row.no_interval,
            )


def _kept_by_format(sweep: Sweep, arms: Arms, kept: Sequence[RetentionRow]) -> Iterator[BlockMeanRow]:
    means = class_rows(arms, kept)
    for form in dict.fromkeys(row.format for row in means):
        rows = sorted((row for row in means if row.format == form), key=lambda row: labelled_block(row.arm) or 0)
        parts = {}
        for row in rows:
            own = [each for each in kept if each.primary and each.arm == row.arm and each.format == form]
            parts[row.arm] = ratio_parts(arms, [each for each in own if each.retention is not None])
        estimates = {arm: found for arm, each in parts.items() if (found := mean_of_ratios(each)) is not None}
        law = _law_of_ratios(
            [parts[arm] for arm in estimates], generator_of(arms.recipe, sweep, "mean retention", form)
        )
        for row in rows:
            band: Interval | None = None
            if law is not None and row.arm in estimates:
                band = estimates[row.arm].interval(law.single_level(arms.level))
            yield BlockMeanRow(
                scorer=sweep.cell.scorer or "",
                data=sweep.cell.data,
                seed=sweep.cell.seed,
                format=form,
                block=labelled_block(row.arm) or 0,
                retention=row.retention,
                low=row.low,
                high=row.high,
                band_low=None if band is None else max(0.0, band.low),
                band_high=None if band is None else band.high,
                level=row.level,
                tasks=row.tasks,
            )


def _law_of_ratios(sums: Sequence[Sequence[RatioPart]], rng: np.random.Generator) -> LargestT | None:
    """The law for several sums of ratios on the same items; the parts of every sum belong to the same tasks."""
    estimates = [mean_of_ratios(parts) for parts in sums]
    known = [
        (np.concatenate([part.contributions() for part in parts]), estimate)
        for parts, estimate in zip(sums, estimates, strict=True)
        if estimate is not None
    ]
    return largest_t([contributions for contributions, _ in known], [estimate for _, estimate in known], rng)


def _block_of(row: RetentionRow) -> int:
    return labelled_block(row.arm) or 0
