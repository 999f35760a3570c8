"""Arms that differ in nothing but whose ranking they read: layers of one data set, tuned on another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from layersig.findings.arms import Arms, ends
from layersig.findings.contrasts import Contrast, contrast, scope_of
from layersig.findings.families import Member, corrections
from layersig.findings.outcomes import Measure
from layersig.recipe.schema import Arm, Recipe
from layersig.streams import Streams
from layersig.topics.carried.rows import CarriedRow


class _Cell(NamedTuple):
    """A cell of the matrix on one measure; no contrast on the diagonal."""

    ranked_on: str
    data: str
    arm: str
    own: str
    measure: Measure
    found: Contrast | None


def carried_rows(arms: Arms) -> Iterator[CarriedRow]:
    """Every ranking on every data set, on every measure: exploratory, corrected over the matrix.

    On the diagonal stands the arm that reads the ranking of the data set that it is tuned on; the other arms of the
    column are compared with it.
    """
    for group in _groups(arms.recipe):
        cells = list(_cells(arms, group))
        tested = [None if cell.found is None else cell.found.test(_rng(arms, cell)) for cell in cells]
        members = [
            Member("carried" if arms.primary(cell.measure) and test is not None else None, test.p if test else None)
            for cell, test in zip(cells, tested, strict=True)
        ]
        size = sum(member.family is not None for member in members)
        for cell, test, member, correction in zip(cells, tested, members, corrections(members), strict=True):
            seeds = arms.outcomes.seeds(cell.measure, cell.arm, cell.data)
            estimate = None if cell.found is None else cell.found.estimate
            low, high = ends(estimate, arms.level)
            yield CarriedRow(
                arms=" ".join(group.values()),
                ranked_on=cell.ranked_on,
                data=cell.data,
                arm=cell.arm,
                own=cell.own,
                task=cell.measure.task,
                metric=cell.measure.metric,
                primary=arms.primary(cell.measure),
                higher_is_better=cell.measure.higher_is_better,
                outcome=arms.plan.is_outcome(cell.measure, cell.data),
                value=float(arms.outcomes.units(cell.measure, cell.arm, cell.data, seeds).mean()),
                difference=None if cell.found is None else cell.found.value,
                low=low,
                high=high,
                level=arms.level,
                test=None if test is None else test.name,
                p=None if test is None else test.p,
                adjusted_p=None if correction is None else correction.p,
                family_size=size if member.family is not None else None,
                n=len(arms.outcomes.items[cell.measure].names),
                seeds=len(seeds),
                scope=scope_of(seeds).value,
            )


def _groups(recipe: Recipe) -> Iterator[dict[str, str]]:
    """Arms by the data set whose ranking they read, where they differ in that alone and there are several."""
    groups: dict[str, dict[str, str]] = {}
    for arm in recipe.arms:
        if len(arm.rankings_of) == 1 and arm.select.params.get("like") is None:
            groups.setdefault(_alike(arm), {})[arm.rankings_of[0]] = arm.name
    yield from (group for group in groups.values() if len(group) > 1)


def _alike(arm: Arm) -> str:
    """What arms of one group have in common."""
    return arm.model_copy(update={"name": "", "ranked_on": None}).model_dump_json()


def _cells(arms: Arms, group: dict[str, str]) -> Iterator[_Cell]:
    for measure, arm, data in arms.cells():
        ranked_on = next((name for name, each in group.items() if each == arm), None)
        own = group.get(data or "")
        if ranked_on is None or data is None or own is None:
            continue
        found = None if arm == own else contrast(arms.outcomes, measure, data, arm, own)
        if found is not None or arm == own:
            yield _Cell(ranked_on, data, arm, own, measure, found)


def _rng(arms: Arms, cell: _Cell) -> np.random.Generator:
    names = (cell.arm, cell.data, cell.measure.task, cell.measure.metric)
    return Streams(arms.recipe.root_seed).generator("carried", *names)
