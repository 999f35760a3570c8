"""Curves over a quantity in which arms or data sets differ: points, bands, trends, and where the optimum may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from layersig.analysis.curves import Trend, band, best_set, trend
from layersig.analysis.results import Interval
from layersig.analysis.sentences import Correction, status_of
from layersig.analysis.tables import Floor
from layersig.findings.arms import ALL_LAYERS, BASE, Arms
from layersig.findings.contrasts import Seeds, scope_of
from layersig.findings.families import DECLARED, Member
from layersig.findings.files import HELDOUT
from layersig.findings.outcomes import FloatArray, Measure, cells_of
from layersig.findings.plan import CONTROLS, matched_by
from layersig.findings.rows.base import Role
from layersig.findings.rows.sweeps import Series, SweepPointRow, SweepRow
from layersig.judging.records import SCORE
from layersig.recipe.schema import Recipe, SweepSettings

_ALL_LAYERS_AT = {"top": 1.0, "quota": 1.0, "union": 1.0, "intersection": 1.0, "freeze": 0.0}
"""The fraction at which a policy selects all layers."""
_CONTROLS: tuple[Literal["random control", "rule control"], ...] = ("random control", "rule control")
_UNITS = {"loss": "nats", SCORE: "grade points"}


class _Point(NamedTuple):
    """A value of the quantity, with the arm and the data set that have it."""

    x: float
    arm: str
    data: str


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
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
    points: tuple[_Point, ...]
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

    def trend(self) -> Trend | None:
        """The linear contrast over the points."""
        return trend(self.tables, self.shares, Floor.DIFFERENCE if self.binary else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A curve, or its difference from that of a control, before its test is corrected."""

    curve: _Curve
    against: Role | None
    trend: Trend | None
    declared: bool
    in_best_set: tuple[bool, ...]

    @property
    def p(self) -> float | None:
        """P-value of "no trend"; None where there is no test."""
        return None if self.trend is None or not self.trend.contrast.se > 0 else self.trend.p_value()


class Sweeps:
    """The sweeps of a recipe over what was measured of its arms."""

    def __init__(self, arms: Arms) -> None:
        self.arms = arms

    def point_rows(self) -> Iterator[SweepPointRow]:
        """Every point of every curve, and of the curves of its controls."""
        for draft in self._drafts:
            if draft.against is not None:
                continue
            yield from self._points(draft.curve, "arm", draft.curve.arm, draft.in_best_set)
            for role in _CONTROLS:
                if (control := self._control(draft.curve, role)) is not None:
                    yield from self._points(control, role, draft.curve.arm, None)

    @property
    def members(self) -> tuple[Member, ...]:
        """The test of every row, with what it is corrected with."""
        return tuple(Member(self._family(draft), draft.p) for draft in self._drafts)

    def rows(self, corrected: Sequence[Correction | None]) -> Iterator[SweepRow]:
        """Every curve as a whole, and how the difference from its controls changes along it.

        Args:
            corrected: The corrections of `members`.
        """
        for draft, member, correction in zip(self._drafts, self.members, corrected, strict=True):
            yield self._row(draft, member.family, correction)

    def notes(self) -> tuple[str, ...]:
        """Sweeps of data sets whose held-out losses are left out."""
        return tuple(
            f"Sweep {sweep.name}: held-out losses are left out, since each of its data sets holds out conversations of "
            "its own, which another may train on. Compare them on `evaluate.tasks`, or vary `train_limit`, which "
            "leaves the held-out conversations as they are."
            for sweep in self.arms.recipe.sweeps
            if sweep.of == "data" and self._own_heldout(sweep) and self._common_heldout(sweep) is None
        )

    @cached_property
    def _drafts(self) -> tuple[_Draft, ...]:
        return tuple(draft for curve in self._curves() for draft in self._tested(curve))

    def _curves(self) -> Iterator[_Curve]:
        for sweep in self.arms.recipe.sweeps:
            for measure in self.arms.outcomes.values:
                if not self._comparable(sweep, measure):
                    continue
                for points in self._lines(sweep):
                    if (curve := self._measured(sweep, measure, points)) is not None:
                        yield curve

    def _lines(self, sweep: SweepSettings) -> Iterator[list[_Point]]:
        """The points of a sweep: of its arms on every data set, or of every arm on its data sets."""
        recipe, values = self.arms.recipe, list(zip(sweep.values, sweep.entries, strict=True))
        if sweep.of == "arms":
            for data in recipe.data:
                yield sorted([_Point(x, arm, data.name) for x, arm in [*values, *_end(recipe, sweep)]])
            return
        controls = {arm.name for arm in recipe.arms if arm.select.kind in CONTROLS.values()}
        for arm in (ALL_LAYERS, *(each.name for each in recipe.arms if each.name not in controls)):
            yield [_Point(x, arm, data) for x, data in values]

    def _measured(self, sweep: SweepSettings, measure: Measure, points: Sequence[_Point]) -> _Curve | None:
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
        return _Curve(sweep, measure, tuple(known), tuple(common), tables, items.shares, binary, len(items.names))

    def _tested(self, curve: _Curve) -> Iterator[_Draft]:
        sign = 1.0 if curve.measure.higher_is_better else -1.0
        floor = Floor.DIFFERENCE if curve.binary else None
        kept = best_set(sign * curve.tables, self.arms.plan.alpha, curve.shares, floor)
        yield _Draft(curve, None, curve.trend(), self._declared(curve), kept)
        for role in _CONTROLS:
            control = self._control(curve, role)
            if control is None:
                continue
            of = {point.x: table for point, table in zip(curve.points, curve.tables, strict=True)}
            found = trend(np.stack([of[x] for x in control.xs]) - control.tables, curve.shares)
            yield _Draft(control, role, found, False, ())

    def _control(self, curve: _Curve, role: Role) -> _Curve | None:
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
                points.append(_Point(point.x, measured[0], point.data))
                tables.append(np.mean(units, axis=0))
                sets.append(len(measured))
        if len(points) < 2:
            return None
        return replace(curve, points=tuple(points), tables=np.stack(tables), sets=min(sets))

    def _has(self, curve: _Curve, arm: str, data: str) -> bool:
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

    def _is_outcome(self, curve: _Curve) -> bool:
        data = curve.data if curve.sweep.of == "arms" else curve.sweep.entries[0]
        return self.arms.plan.is_outcome(curve.measure, data)

    def _declared(self, curve: _Curve) -> bool:
        """Whether the curve is of the declared outcome, and all of it was measured under the declaration."""
        declared = self.arms.plan.declared_cells
        return (
            self._is_outcome(curve)
            and self.arms.primary(curve.measure)
            and all(
                any(cell in declared for cell in cells_of(point.arm, point.data, seed))
                for point in curve.points
                for seed in curve.seeds
            )
        )

    def _family(self, draft: _Draft) -> str | None:
        """Declared trends are in the family of all that is declared; of the others, every kind of curve is one."""
        if draft.declared:
            return DECLARED
        if not self.arms.primary(draft.curve.measure) or draft.p is None:
            return None
        return "exploratory trends" if draft.against is None else f"exploratory trends against {draft.against}"

    def _points(
        self, curve: _Curve, series: Series, arm: str | None, kept: tuple[bool, ...] | None
    ) -> Iterator[SweepPointRow]:
        outcomes, measure = self.arms.outcomes, curve.measure
        gains: FloatArray | None = None
        intervals: tuple[Interval | None, ...] = (None,) * len(curve.points)
        if outcomes.seeds(measure, BASE, None):
            gains = curve.tables - outcomes.units(measure, BASE, None, curve.seeds)
            intervals = band(gains, self.arms.level, curve.shares, Floor.DIFFERENCE if curve.binary else None)
        for place, (point, interval) in enumerate(zip(curve.points, intervals, strict=True)):
            yield SweepPointRow(
                sweep=curve.sweep.name,
                quantity=curve.sweep.quantity,
                x=point.x,
                curve=arm,
                series=series,
                arm=point.arm,
                sets=curve.sets,
                data=point.data,
                task=measure.task,
                metric=measure.metric,
                primary=self.arms.primary(measure),
                higher_is_better=measure.higher_is_better,
                value=float(curve.tables[place].mean()),
                difference=None if gains is None else float(gains[place].mean()),
                low=None if interval is None else interval.low,
                high=None if interval is None else interval.high,
                level=self.arms.level,
                in_best_set=None if kept is None else kept[place],
                n=curve.n,
                seeds=len(curve.seeds),
                scope=scope_of(curve.seeds).value,
            )

    def _row(self, draft: _Draft, family: str | None, correction: Correction | None) -> SweepRow:
        curve, found = draft.curve, draft.trend
        inside = [point.x for point, kept in zip(curve.points, draft.in_best_set, strict=False) if kept]
        interval = None if found is None else found.interval(self.arms.level)
        return SweepRow(
            sweep=curve.sweep.name,
            quantity=curve.sweep.quantity,
            of=curve.sweep.of,
            against=draft.against,
            arm=curve.arm,
            data=curve.data,
            task=curve.measure.task,
            metric=curve.measure.metric,
            primary=self.arms.primary(curve.measure),
            higher_is_better=curve.measure.higher_is_better,
            outcome=self._is_outcome(curve),
            points=len(curve.points),
            x_low=curve.xs[0],
            x_high=curve.xs[-1],
            best=_best(curve) if inside else None,
            best_low=min(inside, default=None),
            best_high=max(inside, default=None),
            best_points=len(inside) or None,
            slope=None if found is None else found.slope,
            low=None if interval is None else interval.low,
            high=None if interval is None else interval.high,
            level=self.arms.level,
            p=draft.p,
            family=family,
            adjusted_p=None if correction is None else correction.p,
            declared=draft.declared,
            n=curve.n,
            seeds=len(curve.seeds),
            scope=scope_of(curve.seeds).value,
            sentence=self._sentence(draft, correction, inside),
        )

    def _sentence(self, draft: _Draft, correction: Correction | None, inside: Sequence[float]) -> str:
        curve = draft.curve
        where = ", ".join(
            [
                f"{len(curve.points)} points from {curve.xs[0]:g} to {curve.xs[-1]:g}",
                f"trained on {curve.data}" if curve.data is not None else f"arm {curve.arm}",
                self.arms.model,
                f"n = {curve.n}",
                f"S = {len(curve.seeds)}",
            ]
        )
        what = f"{curve.measure.metric} of {curve.measure.task}"
        if draft.against is not None:
            what = f"the difference from the {draft.against} in {what}"
        said, evidence = self._trend(draft, correction)
        text = f"{status_of(draft.declared)}: {what} {said} {curve.sweep.quantity} ({where}){evidence}."
        if len(curve.seeds) == 1:
            text += " One training run a point: this is about these checkpoints."
        return text if draft.against is not None else f"{text} {self._optimum(curve, inside)}"

    def _trend(self, draft: _Draft, correction: Correction | None) -> tuple[str, str]:
        """What is said of the trend, and what it rests on."""
        found, measure = draft.trend, draft.curve.measure
        if found is None or draft.p is None:
            return "shows no variation over", ", so that no trend can be tested"
        p = draft.p if correction is None else correction.p
        said = "shows no trend over"
        if correction is not None and p <= self.arms.plan.alpha:
            said = "rises with" if found.slope > 0 else "falls with"
        scale, unit = (100.0, "points") if measure.is_share else (1.0, _UNITS.get(measure.kind, measure.kind))
        slope, interval = round(scale * found.slope, 9), found.interval(self.arms.level)
        tests = "uncorrected: a secondary metric"
        if correction is not None:
            status = correction.status.lower()
            tests = "the only test of its family"
            if correction.tests > 1:
                tests = f"corrected for {correction.tests} {status} tests"
        return said, (
            f": {slope:+.3g} {unit} a step [{scale * interval.low:+.3g}, {scale * interval.high:+.3g}], "
            f"p = {p:.3g}, {tests}"
        )

    def _optimum(self, curve: _Curve, inside: Sequence[float]) -> str:
        best, points = f"The best mean is at {_best(curve):g}", len(curve.points)
        if len(inside) == points:
            return f"{best}, but no point is shown to be worse: this sweep does not tell where the optimum is."
        ends = f"{min(inside):g}" if len(inside) == 1 else f"{min(inside):g} to {max(inside):g}"
        sure = f"with {100 * self.arms.level:.4g} % confidence"
        return f"{best}; {sure} the best of these points is in {ends} ({len(inside)} of {points} points)."


def _best(curve: _Curve) -> float:
    """Where the best mean is; the first of equal ones."""
    means = curve.tables.mean(axis=(1, 2))
    return curve.xs[int(means.argmax() if curve.measure.higher_is_better else means.argmin())]


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
