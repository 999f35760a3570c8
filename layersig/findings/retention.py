"""What of the untouched model's score each arm keeps: by task, by format, and the gap between the formats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from layersig.analysis.means import mean_items
from layersig.analysis.results import Estimate
from layersig.analysis.retention import (
    corrected_retention_items,
    ratio_fieller_items,
    ratio_fieller_items_and_seeds,
    retention_gap_items,
)
from layersig.findings.arms import BASE, Arms
from layersig.findings.contrasts import scope_of
from layersig.findings.fractions import finite_set
from layersig.findings.outcomes import FloatArray, Measure
from layersig.findings.rows import RetentionClassRow, RetentionGapRow, RetentionRow
from layersig.findings.rows.retention import Format
from layersig.records import Cell, Outcome

_FORMATS: Mapping[str, Format] = {
    "acc": "classification",
    "acc_norm": "classification",
    "exact_match": "generation",
    "math_answer": "generation",
    "passes": "generation",
    "rouge_l": "generation",
}
"""Metrics of which a ratio has a meaning, and how their tasks are answered where the record does not say."""


class Kept(NamedTuple):
    """One arm on one measure, beside the untouched model on the same items.

    Attributes:
        arm: Unit values, shape (seeds, units).
        base: Unit values, shape (units,).
        floor: Unit values of the floor, shape (units,); None where it was not measured.
    """

    arm: FloatArray
    base: FloatArray
    floor: FloatArray | None


def retention_rows(
    arms: Arms, floors: Sequence[Outcome], records: Mapping[str, Mapping[str, Any]]
) -> tuple[RetentionRow, ...]:
    """Retention of every arm on every task that the untouched model was evaluated on.

    Args:
        arms: The arms.
        floors: Outcomes of the untouched model without the items' own questions.
        records: What the evaluations recorded of each task.
    """
    by_item: dict[Measure, dict[str, float]] = {}
    for outcome in floors:
        by_item.setdefault(Measure(outcome.task, outcome.metric), {})[outcome.item] = outcome.value
    return tuple(
        _row(arms, measure, arm, data, _kept(arms, measure, arm, data, by_item.get(measure)), records)
        for measure, arm, data in arms.cells()
        if arm != BASE and measure.kind in _FORMATS and Cell(arm=BASE) in arms.outcomes.values[measure]
    )


def _kept(arms: Arms, measure: Measure, arm: str, data: str | None, floor: Mapping[str, float] | None) -> Kept:
    outcomes, items = arms.outcomes, arms.outcomes.items[measure]
    table = outcomes.units(measure, arm, data, outcomes.seeds(measure, arm, data))
    base = outcomes.units(measure, BASE, None, (None,))[0]
    if floor is None or floor.keys() != set(items.names):
        return Kept(table, base, None)
    return Kept(table, base, items.unit_values(np.array([floor[name] for name in items.names])))


def _row(
    arms: Arms,
    measure: Measure,
    arm: str,
    data: str | None,
    kept: Kept,
    records: Mapping[str, Mapping[str, Any]],
) -> RetentionRow:
    record = records.get(measure.task, {})
    base, value, seeds = float(kept.base.mean()), float(kept.arm.mean()), arms.outcomes.seeds(measure, arm, data)
    enough = kept.base.size > 1
    shown = finite_set(_ratio(kept.arm, kept.base, arms.level) if enough and base != 0 else None)
    room, corrected = None, finite_set(None)
    if enough and kept.floor is not None:
        # Whether the base is clear of the floor does not hang on the arm.
        of_base = corrected_retention_items(kept.base, kept.base, kept.floor, level=arms.level)
        room = of_base.room
        if not of_base.at_floor:
            corrected = finite_set(_ratio(kept.arm - kept.floor, kept.base - kept.floor, arms.level))
    return RetentionRow(
        arm=arm,
        data=data,
        task=measure.task,
        metric=measure.metric,
        primary=arms.outcomes.primary(measure),
        format=_format(measure, record),
        base=base,
        value=value,
        retention=value / base if base != 0 else None,
        shape=shown.shape,
        low=shown.low,
        high=shown.high,
        floor=None if kept.floor is None else float(kept.floor.mean()),
        constant=record.get("constant"),
        room=None if room is None else room.value,
        room_se=None if room is None else room.se,
        at_floor=None if room is None else corrected.ratio is None,
        corrected=corrected.ratio,
        corrected_shape=corrected.shape,
        corrected_low=corrected.low,
        corrected_high=corrected.high,
        level=arms.level,
        n=len(arms.outcomes.items[measure].names),
        seeds=len(seeds),
        scope=scope_of(seeds).value,
    )


def _ratio(arm: FloatArray, base: FloatArray, level: float) -> Any:
    if arm.shape[0] == 1:
        return ratio_fieller_items(arm[0], base, level)
    return ratio_fieller_items_and_seeds(arm, np.broadcast_to(base, arm.shape).copy(), level)


def _format(measure: Measure, record: Mapping[str, Any]) -> Format:
    told = record.get("format")
    if told == "classification":
        return "classification"
    return "generation" if told == "generation" else _FORMATS[measure.kind]


def class_rows(arms: Arms, rows: Sequence[RetentionRow]) -> tuple[RetentionClassRow, ...]:
    """Mean retention by format, over the primary metric of every task whose base is above 0."""
    found = []
    for (arm, data, form), members in _by_class(rows).items():
        mean = _mean(arms, members)
        clear = [row.corrected for row in members if row.corrected is not None]
        interval = mean.interval(arms.level) if math.isfinite(mean.se) else None
        found.append(
            RetentionClassRow(
                arm=arm,
                data=data,
                format=form,
                retention=mean.value,
                low=None if interval is None else interval.low,
                high=None if interval is None else interval.high,
                corrected=sum(clear) / len(clear) if clear else None,
                tasks=len(members),
                corrected_tasks=len(clear),
                level=arms.level,
            )
        )
    return tuple(found)


def gap_rows(arms: Arms, rows: Sequence[RetentionRow]) -> tuple[RetentionGapRow, ...]:
    """Retention in classification minus retention in generation: of the fixed tasks, and of the same items."""
    classes = _by_class(rows)
    found = []
    for arm, data in dict.fromkeys((row.arm, row.data) for row in rows):
        sides = classes.get((arm, data, "classification")), classes.get((arm, data, "generation"))
        if sides[0] and sides[1]:
            found.append(_gap_of_classes(arms, arm, data, sides[0], sides[1]))
        for pair in arms.recipe.analyze.same_items:
            both = [
                next((r for r in rows if r.primary and (r.arm, r.data, r.task) == (arm, data, t)), None) for t in pair
            ]
            if (
                both[0] is not None
                and both[1] is not None
                and (gap := _gap_of_items(arms, both[0], both[1])) is not None
            ):
                found.append(gap)
    return tuple(found)


def _by_class(rows: Sequence[RetentionRow]) -> dict[tuple[str, str | None, Format], list[RetentionRow]]:
    classes: dict[tuple[str, str | None, Format], list[RetentionRow]] = {}
    for row in rows:
        if row.primary and row.retention is not None:
            classes.setdefault((row.arm, row.data, row.format), []).append(row)
    return classes


def _mean(arms: Arms, rows: Sequence[RetentionRow]) -> Estimate:
    """Mean of ratios over fixed tasks; its error from the items of each, which the tasks do not share.

    The error is infinite (unknown) with several training runs: what a run does to one task it does to others.
    """
    variance = 0.0
    for row in rows:
        kept = _kept(arms, Measure(row.task, row.metric), row.arm, row.data, None)
        if row.seeds > 1 or kept.base.size < 2 or row.retention is None:
            variance = math.inf
            break
        variance += mean_items((kept.arm[0] - row.retention * kept.base) / row.base).se ** 2
    value = sum(row.retention or 0.0 for row in rows) / len(rows)
    return Estimate(value, math.sqrt(variance) / len(rows), math.inf)


def _gap_of_classes(
    arms: Arms, arm: str, data: str | None, choices: Sequence[RetentionRow], written: Sequence[RetentionRow]
) -> RetentionGapRow:
    one, other = _mean(arms, choices), _mean(arms, written)
    gap = Estimate(one.value - other.value, math.hypot(one.se, other.se), math.inf)
    return _gap_row(arms, arm, data, "tasks", choices, written, gap, None)


def _gap_of_items(arms: Arms, choice: RetentionRow, written: RetentionRow) -> RetentionGapRow | None:
    """None where the items differ after all, or a base scores 0."""
    measures = [Measure(row.task, row.metric) for row in (choice, written)]
    names = [arms.outcomes.items[measure].names for measure in measures]
    if set(names[0]) != set(names[1]) or not choice.base or not written.base or len(names[0]) < 2:
        return None
    both = [_kept(arms, measure, choice.arm, choice.data, None) for measure in measures]
    if names[0] != names[1] or both[0].base.size != both[1].base.size:
        return None
    gap = retention_gap_items(both[0].arm.mean(0), both[0].base, both[1].arm.mean(0), both[1].base)
    if choice.seeds > 1:
        gap = Estimate(gap.value, math.inf, gap.df)
    return _gap_row(arms, choice.arm, choice.data, "same items", [choice], [written], gap, len(names[0]))


def _gap_row(
    arms: Arms,
    arm: str,
    data: str | None,
    kind: Any,
    choices: Sequence[RetentionRow],
    written: Sequence[RetentionRow],
    gap: Estimate,
    n: int | None,
) -> RetentionGapRow:
    interval = gap.interval(arms.level) if math.isfinite(gap.se) else None
    return RetentionGapRow(
        arm=arm,
        data=data,
        kind=kind,
        classification=", ".join(row.task for row in choices),
        generation=", ".join(row.task for row in written),
        classification_retention=sum(row.retention or 0.0 for row in choices) / len(choices),
        generation_retention=sum(row.retention or 0.0 for row in written) / len(written),
        classification_floor=_floor(choices),
        generation_floor=_floor(written),
        gap=gap.value,
        se=gap.se if math.isfinite(gap.se) else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=arms.level,
        n=n,
    )


def _floor(rows: Sequence[RetentionRow]) -> float | None:
    """Mean of floor / base over the tasks; None unless every one was measured."""
    shares = [row.floor / row.base for row in rows if row.floor is not None and row.base]
    return sum(shares) / len(shares) if len(shares) == len(rows) else None
