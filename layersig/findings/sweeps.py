"""Curves over a quantity in which arms or data sets differ: points, bands, trends, and where the optimum may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from layersig.analysis.curves import Trend, band, best_set, trend
from layersig.analysis.results import Interval
from layersig.analysis.sentences import Correction, status_of
from layersig.analysis.tables import Floor
from layersig.findings.arms import Arms
from layersig.findings.contrasts import scope_of
from layersig.findings.families import DECLARED, Member
from layersig.findings.outcomes import UNITS, FloatArray, cells_of
from layersig.findings.rows.base import Role
from layersig.findings.rows.sweeps import Series, SweepPointRow, SweepRow
from layersig.findings.sweep_curves import Curve, MeasuredCurves
from layersig.recipe.schema import BASE

_CONTROLS: tuple[Literal["random control", "rule control"], ...] = ("random control", "rule control")


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A curve, or its difference from that of a control, before its test is corrected."""

    curve: Curve
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
        self._curves = MeasuredCurves(arms)

    def point_rows(self) -> Iterator[SweepPointRow]:
        """Every point of every curve, and of the curves of its controls."""
        for draft in self._drafts:
            if draft.against is not None:
                continue
            yield from self._points(draft.curve, "arm", draft.curve.arm, draft.in_best_set)
            for role in _CONTROLS:
                if (control := self._curves.control(draft.curve, role)) is not None:
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
            for sweep in self._curves.left_out()
        )

    @cached_property
    def _drafts(self) -> tuple[_Draft, ...]:
        return tuple(draft for curve in self._curves for draft in self._tested(curve))

    def _tested(self, curve: Curve) -> Iterator[_Draft]:
        sign, look = 1.0 if curve.measure.higher_is_better else -1.0, self.arms.outcomes.look
        found = trend(curve.tables, curve.shares, curve.floor, look)
        kept = best_set(sign * curve.tables, self.arms.plan.alpha, curve.shares, curve.floor, look)
        yield _Draft(curve, None, found, self._declared(curve), kept)
        for role in _CONTROLS:
            control = self._curves.control(curve, role)
            if control is None:
                continue
            of = {point.x: table for point, table in zip(curve.points, curve.tables, strict=True)}
            differences = np.stack([of[x] for x in control.xs]) - control.tables
            found = trend(differences, curve.shares, Floor.OF_DIFFERENCES if curve.binary else None, look)
            yield _Draft(control, role, found, False, ())

    def _is_outcome(self, curve: Curve) -> bool:
        data = curve.data if curve.sweep.of == "arms" else curve.sweep.entries[0]
        return self.arms.plan.is_outcome(curve.measure, data)

    def _declared(self, curve: Curve) -> bool:
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
        self, curve: Curve, series: Series, arm: str | None, kept: tuple[bool, ...] | None
    ) -> Iterator[SweepPointRow]:
        outcomes, measure = self.arms.outcomes, curve.measure
        gains: FloatArray | None = None
        intervals: tuple[Interval | None, ...] = (None,) * len(curve.points)
        if outcomes.seeds(measure, BASE, None):
            gains = curve.tables - outcomes.units(measure, BASE, None, curve.seeds)
            intervals = band(gains, self.arms.level, curve.shares, curve.floor, outcomes.look)
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
            best=curve.best if inside else None,
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
        scale, unit = (100.0, "points") if measure.is_share else (1.0, UNITS.get(measure.kind, measure.kind))
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

    def _optimum(self, curve: Curve, inside: Sequence[float]) -> str:
        best, points = f"The best mean is at {curve.best:g}", len(curve.points)
        if len(inside) == points:
            return f"{best}, but no point is shown to be worse: this sweep does not tell where the optimum is."
        ends = f"{min(inside):g}" if len(inside) == 1 else f"{min(inside):g} to {max(inside):g}"
        sure = f"with {100 * self.arms.level:.4g} % confidence"
        return f"{best}; {sure} the best of these points is in {ends} ({len(inside)} of {points} points)."
