"""What was measured along the sweeps of a recipe, and along those of the controls of its arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from layersig.analysis.tables import Floor
from layersig.findings.arms import Arms
from layersig.findings.contrasts import Seeds
from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import FloatArray, Measure
from layersig.findings.plan import CONTROLS, matched_by
from layersig.findings.rows.base import Role
from layersig.recipe.schema import ALL_LAYERS, BASE, Recipe, SweepSettings

_ALL_LAYERS_AT = {"top": 1.0, "quota": 1.0, "union": 1.0, "intersection": 1.0, "freeze": 0.0}
"""The fraction at which a policy selects all layers."""


class Point(NamedTuple):
    """A value of the quantity, with the arm and the data set that have it."""

    x: float
    arm: str
    data: str


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What was measured along a sweep.

    Attributes:
        sweep: The sweep.
        measure: Task and metric.
        points: Values of the quantity, ascending.
        seeds: Training runs that all points have.
        tables: Unit values, shape (points, seeds, units).
        shares: Share of each unit in the weight of all.
        binary: Whether outcomes are shares of right answers.
        n: Items.
        sets: Arms that every point is the mean of.
    """

    sweep: SweepSettings
    measure: Measure
    points: tuple[Point, ...]
    seeds: Seeds
    tables: FloatArray
    shares: FloatArray | None
    binary: bool
    n: int
    sets: int = 1

    @property
    def xs(self) -> tuple[float, ...]:
        """Values of the quantity."""
        return tuple(point.x for point in self.points)

    @property
    def arm(self) -> str | None:
        """The arm, where data sets vary."""
        return self.points[0].arm if self.sweep.of == "data" else None

    @property
    def data(self) -> str | None:
        """The data set, where arms vary."""
        return self.points[0].data if self.sweep.of == "arms" else None

    @property
    def floor(self) -> Floor | None:
        """What differences of the tables hold."""
        return Floor.DIFFERENCE if self.binary else None

    @property
    def best(self) -> float:
        """Where the best mean is; the first of equal ones."""
        means = self.tables.mean(axis=(1, 2))
        return self.xs[int(means.argmax() if self.measure.higher_is_better else means.argmin())]


class MeasuredCurves:
    """The curves of all sweeps of a recipe.

    Args:
        arms: What was measured.
    """

    def __init__(self, arms: Arms) -> None:
        self.arms = arms

    def __iter__(self) -> Iterator[Curve]:
        for sweep in self.arms.recipe.sweeps:
            for measure in self.arms.outcomes.values:
                if not self._comparable(sweep, measure):
                    continue
                for points in lines(self.arms.recipe, sweep):
                    if (curve := self._measured(sweep, measure, points)) is not None:
                        yield curve

    def _measured(self, sweep: SweepSettings, measure: Measure, points: Sequence[Point]) -> Curve | None:
        """A curve over the points that were measured; None with fewer than two, or without a seed that all have."""
        outcomes = self.arms.outcomes
        known = {point: found for point in points if (found := outcomes.seeds(measure, point.arm, point.data))}
        runs = [{*found} for found in known.values() if found != (None,)]
        common = sorted(seed for seed in set.intersection(*runs) if seed is not None) if runs else []
        if len(known) < 2 or not common:
            return None
        tables = np.stack([outcomes.units(measure, point.arm, point.data, common) for point in known])
        items = outcomes.items[measure]
        binary = outcomes.are_shares(measure)
        return Curve(sweep, measure, tuple(known), tuple(common), tables, items.shares, binary, len(items.names))

    def control(self, curve: Curve, role: Role) -> Curve | None:
        """The controls of the arms of a curve, at the points that have some; of several random ones the mean."""
        outcomes, plan = self.arms.outcomes, self.arms.plan
        points, tables, sets = [], [], []
        for point in curve.points:
            names = plan.random_controls(point.arm) if role == "random control" else (plan.rule_control(point.arm),)
            measured = [name for name in names if name is not None and self._has(curve, name, point.data)]
            if role == "random control" and measured:
                match = matched_by(plan.recipe, measured[0])
                measured = [name for name in measured if matched_by(plan.recipe, name) == match]
            if measured:
                units = [outcomes.units(curve.measure, name, point.data, curve.seeds) for name in measured]
                points.append(Point(point.x, measured[0], point.data))
                tables.append(np.mean(units, axis=0))
                sets.append(len(measured))
        if len(points) < 2:
            return None
        return replace(curve, points=tuple(points), tables=np.stack(tables), sets=min(sets))

    def _has(self, curve: Curve, arm: str, data: str) -> bool:
        """Whether an arm was measured in every run of a curve."""
        return {*curve.seeds} <= {*self.arms.outcomes.seeds(curve.measure, arm, data)}

    def _comparable(self, sweep: SweepSettings, measure: Measure) -> bool:
        """Whether the items of a measure are the same at every point, and none is trained on at another."""
        if sweep.of == "arms" or measure.task not in self._own_heldout(sweep):
            return True
        return measure.task == self._common_heldout(sweep)

    def _own_heldout(self, sweep: SweepSettings) -> list[str]:
        """The held-out losses of the data sets that vary."""
        measured = {measure.task for measure in self.arms.outcomes.values}
        return [task for task in (f"{HELDOUT}/{name}" for name in sweep.entries) if task in measured]

    def _common_heldout(self, sweep: SweepSettings) -> str | None:
        """The first of them, where all hold out the same conversations; else None."""
        tasks = self._own_heldout(sweep)
        held = {frozenset(items.names) for measure, items in self.arms.outcomes.items.items() if measure.task in tasks}
        return tasks[0] if len(tasks) == len(sweep.entries) and len(held) == 1 else None

    def left_out(self) -> Iterator[SweepSettings]:
        """Sweeps of data sets whose held-out losses are not comparable, so that they have no curve of them."""
        for sweep in self.arms.recipe.sweeps:
            if sweep.of == "data" and self._own_heldout(sweep) and self._common_heldout(sweep) is None:
                yield sweep


def lines(recipe: Recipe, sweep: SweepSettings) -> Iterator[list[Point]]:
    """The points of a sweep: of its arms on every data set, or of every arm on its data sets."""
    values = list(zip(sweep.values, sweep.entries, strict=True))
    if sweep.of == "arms":
        for data in recipe.data:
            yield sorted([Point(x, arm, data.name) for x, arm in [*values, *_end(recipe, sweep)]])
        return
    controls = {arm.name for arm in recipe.arms if arm.select.kind in CONTROLS.values()}
    for arm in (ALL_LAYERS, *(each.name for each in recipe.arms if each.name not in controls)):
        yield [Point(x, arm, data) for x, data in values]


def _end(recipe: Recipe, sweep: SweepSettings) -> Iterator[tuple[float, str]]:
    """The end of a sweep that every study has: all layers tuned, or none removed."""
    arms = [arm for arm in recipe.arms if arm.name in sweep.entries]
    kinds = {(arm.select.kind, arm.action) for arm in arms}
    own = any(arm.train or arm.recover is not None or arm.select.params.get("shares") for arm in arms)
    if len(kinds) != 1 or own:
        return
    (kind, action) = kinds.pop()
    if kind in _ALL_LAYERS_AT and action != "prune" and sweep.quantity == "select.fraction":
        end = _ALL_LAYERS_AT[kind], ALL_LAYERS
    elif kind == "lowest" and action == "prune" and sweep.quantity in ("select.fraction", "select.count"):
        end = 0.0, BASE
    else:
        return
    if end[0] not in sweep.values:
        yield end
