"""Is it better to train on self-generated responses than on given ones? The same arm on both, on the same items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from layersig.findings.arms import Arms, ends
from layersig.findings.contrasts import Contrast
from layersig.findings.families import Member, corrections
from layersig.findings.files import Selected
from layersig.findings.outcomes import Measure
from layersig.recipe.schema import DataSettings, Recipe
from layersig.streams import Streams
from layersig.topics.own_responses.rows import OwnResponsesRow


class _Pair(NamedTuple):
    """An arm on both data sets."""

    arm: str
    own: str
    given: str
    found: Contrast


def own_responses_rows(arms: Arms, selections: Sequence[Selected]) -> Iterator[OwnResponsesRow]:
    """Every trained arm on every measure: exploratory, corrected over all of them.

    Args:
        arms: The arms.
        selections: What each arm selected.
    """
    pairs = list(_pairs(arms))
    tested = [pair.found.test(_rng(arms, pair)) for pair in pairs]
    members = [
        Member("own responses" if arms.primary(pair.found.measure) else None, test.p)
        for pair, test in zip(pairs, tested, strict=True)
    ]
    size = sum(member.family is not None for member in members)
    for pair, test, member, correction in zip(pairs, tested, members, corrections(members), strict=True):
        found, measure = pair.found, pair.found.measure
        low, high = ends(found.estimate, arms.level)
        yield OwnResponsesRow(
            arm=pair.arm,
            own=pair.own,
            given=pair.given,
            task=measure.task,
            metric=measure.metric,
            primary=arms.primary(measure),
            higher_is_better=measure.higher_is_better,
            outcome=arms.plan.is_outcome(measure, pair.own),
            on_own=_mean(arms, found, 0),
            on_given=_mean(arms, found, 1),
            difference=found.value,
            low=low,
            high=high,
            level=arms.level,
            test=test.name,
            p=test.p,
            adjusted_p=None if correction is None else correction.p,
            family_size=size if member.family is not None else None,
            same_layers=_same_layers(selections, pair),
            n=found.n,
            seeds=len(found.seeds),
            scope=found.scope.value,
        )


def _pairs(arms: Arms) -> Iterator[_Pair]:
    given_for = _given_for(arms.recipe)
    untrained = {arm.name for arm in arms.recipe.arms if arm.action == "prune" and arm.recover is None}
    cells = list(arms.cells())
    for measure, arm, own in cells:
        if own is None or arm in untrained:
            continue
        for _, _, given in (cell for cell in cells if cell[:2] == (measure, arm)):
            if given is not None and _name(given) == given_for.get(_name(own)):
                found = _contrast(arms, measure, arm, own, given)
                if found is not None:
                    yield _Pair(arm, own, given, found)


def _given_for(recipe: Recipe) -> Mapping[str, str]:
    """By name of a data set with self-generated responses, that of the same rows with given ones.

    `train_limit` draws by the whole conversation, so that with it rows differ.
    """
    alike = [data for data in recipe.data if data.train_limit is None]
    given = {_rows(data): data.name for data in alike if data.generate is None}
    return {data.name: given[_rows(data)] for data in alike if data.generate is not None and _rows(data) in given}


def _rows(data: DataSettings) -> str:
    return data.model_copy(update={"name": "", "generate": None}).model_dump_json()


def _contrast(arms: Arms, measure: Measure, arm: str, own: str, given: str) -> Contrast | None:
    """The seeds that both have; None where there is none."""
    outcomes = arms.outcomes
    theirs = outcomes.seeds(measure, arm, given)
    seeds = tuple(seed for seed in outcomes.seeds(measure, arm, own) if seed in theirs)
    if not seeds:
        return None
    values = np.stack([outcomes.raw(measure, arm, data, seeds) for data in (own, given)])
    items = outcomes.items[measure]
    differences = np.stack([items.unit_values(a) - items.unit_values(b) for a, b in zip(*values, strict=True)])
    labels = f"{arm} on {own}", f"{arm} on {given}"
    shares, look = outcomes.are_shares(measure), outcomes.look_at(seeds)
    return Contrast(*labels, None, measure, seeds, items, values, differences, shares, look)


def _mean(arms: Arms, found: Contrast, side: int) -> float:
    weights = arms.outcomes.items[found.measure].weights
    return float(np.average(found.values[side], axis=1, weights=weights).mean())


def _same_layers(selections: Sequence[Selected], pair: _Pair) -> bool | None:
    chosen = {
        (selected.cell.data, selected.cell.seed): set(selected.selection.layers)
        for selected in selections
        if selected.cell.arm == pair.arm
    }
    sides = [
        [chosen.get((data, seed), chosen.get((data, None), chosen.get((None, None)))) for seed in pair.found.seeds]
        for data in (pair.own, pair.given)
    ]
    return None if None in (*sides[0], *sides[1]) else sides[0] == sides[1]


def _name(label: str) -> str:
    return label.partition(">")[0]


def _rng(arms: Arms, pair: _Pair) -> np.random.Generator:
    measure = pair.found.measure
    names = (pair.arm, pair.own, pair.given, measure.task, measure.metric)
    return Streams(arms.recipe.root_seed).generator("own responses", *names)
