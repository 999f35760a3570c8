"""What of the untouched model's score each arm keeps: by task, by format, and the gap between the formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from layersig.analysis.floors import RATIO_OF_DIFFERENCES, RATIO_OF_LEVELS
from layersig.analysis.results import Estimate
from layersig.analysis.retention import (
    RatioPart,
    difference_of_ratios,
    mean_of_ratios,
    ratio_of_tables,
    room_above_floor,
)
from layersig.analysis.tables import Floor, mean_of, no_interval
from layersig.findings.arms import Arms
from layersig.findings.contrasts import Seeds, scope_of
from layersig.findings.outcomes import FloatArray, Measure
from layersig.findings.shown import finite_set
from layersig.recipe.schema import BASE
from layersig.records import Cell, Outcome
from layersig.topics.retention.rows import Format, RetentionClassRow, RetentionGapRow, RetentionRow

_FORMATS: Mapping[str, Format] = {
    "acc": "classification",
    "acc_norm": "classification",
    "exact_match": "generation",
    "math_answer": "generation",
    "passes": "generation",
    "rouge_l": "generation",
}
"""Metrics of which a ratio has a meaning, and how their tasks are answered where the record does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredArm:
    """One arm on one measure, beside the untouched model on the same items.

    Attributes:
        arm: Unit values, shape (seeds, units).
        base: Unit values, shape (units,).
        floor: Unit values of the floor, shape (units,); None where it was not measured.
        binary: Whether outcomes are shares of right answers.
    """

    arm: FloatArray
    base: FloatArray
    floor: FloatArray | None
    binary: bool

    @property
    def bases(self) -> FloatArray:
        """The untouched model beside every run, shape (seeds, units)."""
        return np.broadcast_to(self.base, self.arm.shape)

    @property
    def no_interval(self) -> str | None:
        """Why the ratio has no set: too few items, or nothing varies but in proportion to the untouched model."""
        bottom = float(self.base.mean())
        rest = self.arm - (float(self.arm.mean()) / bottom if bottom else 0.0) * self.base
        size = float(max(np.abs(self.arm).max(), np.abs(self.base).max()))
        return no_interval(rest, Floor.DIFFERENCE if self.binary else None, size)

    def part(self, weight: float = 1.0) -> RatioPart:
        """The ratio as a term of a sum of ratios."""
        return RatioPart(self.arm, self.bases, weight, RATIO_OF_LEVELS if self.binary else None)


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


def _kept(arms: Arms, measure: Measure, arm: str, data: str | None, floor: Mapping[str, float] | None) -> MeasuredArm:
    outcomes, items = arms.outcomes, arms.outcomes.items[measure]
    table = outcomes.units(measure, arm, data, outcomes.seeds(measure, arm, data))
    base = outcomes.units(measure, BASE, None, (None,))[0]
    if floor is None or floor.keys() != set(items.names):
        return MeasuredArm(table, base, None, outcomes.are_shares(measure))
    values = items.unit_values(np.array([floor[name] for name in items.names]))
    return MeasuredArm(table, base, values, outcomes.are_shares(measure))


def _row(
    arms: Arms,
    measure: Measure,
    arm: str,
    data: str | None,
    kept: MeasuredArm,
    records: Mapping[str, Mapping[str, Any]],
) -> RetentionRow:
    record, items = records.get(measure.task, {}), arms.outcomes.items[measure]
    base, value, seeds = float(kept.base.mean()), float(kept.arm.mean()), arms.outcomes.seeds(measure, arm, data)
    binary = arms.outcomes.are_shares(measure)
    enough = base != 0 and kept.no_interval is None
    added = RATIO_OF_LEVELS if binary else None
    found = ratio_of_tables(kept.arm, kept.bases, arms.level, items.shares, added) if enough else None
    shown = finite_set(None if found is None else found.from_zero())
    room, corrected = None, finite_set(None)
    if kept.floor is not None:
        # Whether the base is clear of the floor does not depend on the arm.
        room = mean_of((kept.base - kept.floor)[None], items.shares, Floor.DIFFERENCE if binary else None)
        if room is not None and room_above_floor(room):
            added = RATIO_OF_DIFFERENCES if binary else None
            tables = kept.arm - kept.floor, kept.bases - kept.floor
            corrected = finite_set(ratio_of_tables(*tables, arms.level, items.shares, added))
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
        no_interval="the untouched model scores 0" if base == 0 else kept.no_interval,
        n=len(items.names),
        seeds=len(seeds),
        scope=scope_of(seeds).value,
    )


def _format(measure: Measure, record: Mapping[str, Any]) -> Format:
    recorded = record.get("format")
    if recorded == "classification":
        return "classification"
    # An answer whose likelihood alone is scored is right where greedy decoding would write it.
    return "generation" if recorded in ("generation", "loglikelihood") else _FORMATS[measure.kind]


def class_rows(arms: Arms, rows: Sequence[RetentionRow]) -> tuple[RetentionClassRow, ...]:
    """Mean retention by format, over the primary metric of every task whose base is above 0."""
    found = []
    for (arm, data, form), members in _by_class(rows).items():
        mean = _sum_of_ratios(arms, [(row, 1 / len(members)) for row in members])
        clear = [row.corrected for row in members if row.corrected is not None]
        interval = None if mean is None else mean.interval(arms.level)
        seeds = _seeds(arms, members)
        found.append(
            RetentionClassRow(
                arm=arm,
                data=data,
                format=form,
                retention=_mean(members),
                low=None if interval is None else max(0.0, interval.low),
                high=None if interval is None else interval.high,
                corrected=sum(clear) / len(clear) if clear else None,
                constant=_share_of_base(members, [row.constant for row in members]),
                tasks=len(members),
                corrected_tasks=len(clear),
                level=arms.level,
                seeds=len(seeds),
                scope=scope_of(seeds).value,
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


def ratio_parts(arms: Arms, rows: Sequence[RetentionRow]) -> list[RatioPart]:
    """The ratios behind rows of retention, of equal weight in their mean."""
    return [_kept(arms, _measure(row), row.arm, row.data, None).part(1 / len(rows)) for row in rows]


def _sum_of_ratios(arms: Arms, terms: Sequence[tuple[RetentionRow, float]]) -> Estimate | None:
    """Sum of retentions with their weights; None where the tasks were not measured on the same training runs."""
    rows = [row for row, _ in terms]
    seeds = _seeds(arms, rows)
    if any(row.seeds != len(seeds) for row in rows):
        return None
    return mean_of_ratios([_kept(arms, _measure(row), row.arm, row.data, None).part(weight) for row, weight in terms])


def _seeds(arms: Arms, rows: Sequence[RetentionRow]) -> Seeds:
    """The training runs that were measured on every task."""
    seeds = [arms.outcomes.seeds(_measure(row), row.arm, row.data) for row in rows]
    return tuple(seed for seed in seeds[0] if all(seed in others for others in seeds))


def _mean(rows: Sequence[RetentionRow]) -> float:
    return sum(row.retention or 0.0 for row in rows) / len(rows)


def _measure(row: RetentionRow) -> Measure:
    return Measure(row.task, row.metric)


def _gap_of_classes(
    arms: Arms, arm: str, data: str | None, choices: Sequence[RetentionRow], written: Sequence[RetentionRow]
) -> RetentionGapRow:
    terms = [(row, 1 / len(choices)) for row in choices] + [(row, -1 / len(written)) for row in written]
    return _gap_row(arms, arm, data, "tasks", choices, written, _sum_of_ratios(arms, terms), None)


def _gap_of_items(arms: Arms, choice: RetentionRow, written: RetentionRow) -> RetentionGapRow | None:
    """None where the items differ after all, or a base scores 0."""
    names = [arms.outcomes.items[_measure(row)].names for row in (choice, written)]
    if names[0] != names[1] or not choice.base or not written.base or len(names[0]) < 2:
        return None
    one, other = (_kept(arms, _measure(row), row.arm, row.data, None) for row in (choice, written))
    if one.base.size != other.base.size:
        return None
    same_runs = len(_seeds(arms, [choice, written])) == choice.seeds == written.seeds
    gap = difference_of_ratios(one.part(), other.part()) if same_runs else None
    return _gap_row(arms, choice.arm, choice.data, "same items", [choice], [written], gap, len(names[0]))


def _gap_row(
    arms: Arms,
    arm: str,
    data: str | None,
    kind: Literal["tasks", "same items"],
    choices: Sequence[RetentionRow],
    written: Sequence[RetentionRow],
    gap: Estimate | None,
    n: int | None,
) -> RetentionGapRow:
    interval = None if gap is None else gap.interval(arms.level)
    seeds = _seeds(arms, [*choices, *written])
    return RetentionGapRow(
        arm=arm,
        data=data,
        kind=kind,
        classification=", ".join(row.task for row in choices),
        generation=", ".join(row.task for row in written),
        classification_retention=_mean(choices),
        generation_retention=_mean(written),
        classification_floor=_share_of_base(choices, [row.floor for row in choices]),
        generation_floor=_share_of_base(written, [row.floor for row in written]),
        gap=_mean(choices) - _mean(written),
        se=None if gap is None else gap.se,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=arms.level,
        n=n,
        seeds=len(seeds),
        scope=scope_of(seeds).value,
    )


def _share_of_base(rows: Sequence[RetentionRow], values: Sequence[float | None]) -> float | None:
    """Mean of value / base over the tasks, for one value each; None unless every one is known."""
    shares = [value / row.base for row, value in zip(rows, values, strict=True) if value is not None and row.base]
    return sum(shares) / len(shares) if len(shares) == len(rows) else None
