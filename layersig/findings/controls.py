"""Where an arm stands among its random control sets: a rank test from 19 sets on, before that only their range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.looks import Look
from layersig.analysis.results import Alternative, at_least, monte_carlo_p
from layersig.analysis.sentences import Correction, status_of
from layersig.findings.arms import Arms
from layersig.findings.families import Member, corrections
from layersig.findings.outcomes import Measure
from layersig.findings.plan import is_fixed, matched_by
from layersig.findings.rows.claims import ControlSetRow

MIN_SETS = 19
"""Random sets from which on a rank among them can be significant at 5 %: the smallest p-value is 1 / (sets + 1)."""

_BUDGETS = {"types": "its counts by module type", "layers": "its number of layers", "parameters": "its weights"}


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """An arm and its random control sets on one measure, each averaged over the seeds that all have.

    Attributes:
        value: Mean of the arm.
        sets: Mean of every control set, shape (sets,).
        seeds: Training runs behind each mean.
        higher_is_better: Direction of the measure.
        fixed: Whether each set is one set of layers, and not another one in every seed.
        look: The declared look at the results that the test allows for.
    """

    value: float
    sets: NDArray[np.float64]
    seeds: int
    higher_is_better: bool
    fixed: bool
    look: Look | None = None

    @property
    def at_least_as_good(self) -> int:
        """Number of sets that are as good as the arm or better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return at_least(sign * self.value, sign * self.sets)

    @property
    def p(self) -> float | None:
        """One-sided (1 + #at least as good) / (1 + sets); None with too few sets for a test.

        Under the null hypothesis the arm's layers are as good as drawn. Then every rank among the sets is equally
        likely if the arm chooses the same layers in all seeds, and high ranks are rarer if it does not. Sets that
        change with the seed allow no test: their means vary less than the mean of an arm that does not change.
        """
        if self.sets.size < MIN_SETS or not self.fixed:
            return None
        alternative = Alternative.GREATER if self.higher_is_better else Alternative.LESS
        found = monte_carlo_p(self.value, self.sets, alternative).p
        return found if self.look is None else self.look.p_value(found)


def standing(arms: Arms, measure: Measure, arm: str, data: str | None, match: str = "types") -> Standing | None:
    """An arm among its control sets of one kind of match; None without any, or without a seed that all have."""
    names = [name for name in arms.plan.random_controls(arm) if matched_by(arms.recipe, name) == match]
    names = [name for name in names if (measure, name, data) in arms.evaluated]
    names = [name for name in names if is_fixed(arms.recipe, name)] or names
    if not names:
        return None
    seeds = [arms.outcomes.seeds(measure, name, data) for name in (arm, *names)]
    common = [seed for seed in seeds[0] if all(seed in others for others in seeds)]
    if not common:
        return None
    means = [float(arms.outcomes.units(measure, name, data, common).mean()) for name in (arm, *names)]
    fixed = len(common) == 1 or all(is_fixed(arms.recipe, name) for name in names)
    look = arms.outcomes.look_at(common)
    return Standing(means[0], np.array(means[1:]), len(common), measure.higher_is_better, fixed, look)


def control_set_rows(arms: Arms) -> Iterator[ControlSetRow]:
    """Every arm that has several random control sets, on every measure.

    The tests are exploratory here; where they are declared they are the last step of the claim "as good as all layers".
    """
    found = [
        (measure, arm, data, match, place)
        for measure, arm, data in arms.cells()
        for match in _BUDGETS
        if (place := standing(arms, measure, arm, data, match)) is not None and place.sets.size > 1
    ]
    # Secondary metrics are further looks at the same answers: they are in no family and have a range only.
    members = [
        Member("control sets" if arms.outcomes.primary(measure) and place.p is not None else None, place.p)
        for measure, _, _, _, place in found
    ]
    for (measure, arm, data, match, place), correction in zip(found, corrections(members), strict=True):
        yield ControlSetRow(
            arm=arm,
            data=data,
            task=measure.task,
            metric=measure.metric,
            primary=arms.outcomes.primary(measure),
            higher_is_better=measure.higher_is_better,
            match=match,
            value=place.value,
            sets=place.sets.size,
            low=float(place.sets.min()),
            median=float(np.median(place.sets)),
            high=float(place.sets.max()),
            at_least_as_good=place.at_least_as_good,
            p=place.p,
            adjusted_p=None if correction is None else correction.p,
            seeds=place.seeds,
            sentence=_sentence(arms, measure, arm, data, _BUDGETS[match], place, correction),
        )


def _sentence(
    arms: Arms,
    measure: Measure,
    arm: str,
    data: str | None,
    budget: str,
    found: Standing,
    correction: Correction | None,
) -> str:
    n = found.sets.size
    where = f"{measure.metric} of {measure.task}, trained on {data}, {arms.model}, S = {found.seeds}"
    better = f"{n - found.at_least_as_good} of {n} random sets of {budget}"
    if found.p is None:
        return (
            f"{status_of(False)}: {arm} is better than {better} ({where}): a range, no test, which takes "
            f"{MIN_SETS} sets that are the same in every seed (`analyze.control_sets`)."
        )
    if correction is None:
        return f"{status_of(False)}: {arm} is better than {better} ({where}): a range, no test of a secondary metric."
    said = "better than random sets" if correction.p <= arms.plan.alpha else "not shown to be better than random sets"
    tests = f"corrected for {correction.tests} such tests" if correction.tests > 1 else "the only test of its family"
    return (
        f"{correction.status}: {arm} is {said}: better than {better} ({where}), "
        f"p = {correction.p:.3g} by its rank among them, {tests}."
    )
