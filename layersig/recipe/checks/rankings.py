"""Checks of rankings: those that an arm reads, and those that come from another run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from layersig.plugin.components import Component
from layersig.plugin.table import suggestion
from layersig.recipe.checks.values import one_or_more
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath


def source_checks(scorer: Component, source: Any, path: KeyPath) -> Iterator[Fault]:
    """Faults of `source`: scorers that read another run need it, all others must not have it."""
    if "rankings" not in scorer.needs:
        if source is not None:
            yield Fault((*path, "source"), f'scorer "{scorer.name}" reads no rankings of another run; remove it')
    elif source is None:
        yield Fault(
            (*path, "source"),
            f'missing: scorer "{scorer.name}" reads another run; give "file:" and the folder of that run',
        )
    elif isinstance(source, str) and ":" in source and not source.startswith("file:"):
        yield Fault((*path, "source"), f'must be "file:" and the folder of a run or a scores.jsonl; got "{source}"')


def ranking_checks(policy: Component, scorers: list[Any], path: KeyPath, *, given: bool) -> Iterator[Fault]:
    """Faults of `scorer`: the arm must name as many scorers as its policy reads rankings."""
    if policy.rankings == "none":
        if given:
            yield Fault((*path, "scorer"), f'policy "{policy.name}" reads no ranking; remove `scorer`')
    elif not scorers:
        yield Fault((*path, "scorer"), f'missing: policy "{policy.name}" reads a ranking; name one of [scorers]')
    elif policy.rankings == "one" and len(scorers) > 1:
        yield Fault((*path, "scorer"), f'policy "{policy.name}" reads one ranking; got {len(scorers)} scorers')


def ranked_on_checks(policy: Component, given: Any, path: KeyPath, known: Sequence[str]) -> Iterator[Fault]:
    """Faults of `ranked_on`: known data sets, as many as the policy reads rankings."""
    names = one_or_more(given)
    for number, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            place = (*path, "ranked_on", number) if isinstance(given, list) else (*path, "ranked_on")
            yield Fault(place, f'there is no [[data]] named "{name}"{suggestion(name, known)}')
    if policy.rankings == "none" and given is not None:
        yield Fault((*path, "ranked_on"), f'policy "{policy.name}" reads no ranking; remove `ranked_on`')
    elif policy.rankings == "one" and len(names) > 1:
        yield Fault((*path, "ranked_on"), f'policy "{policy.name}" reads one ranking; got {len(names)} data sets')
