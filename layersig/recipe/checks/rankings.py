"""Whose ranking an arm reads, and where a ranking of another run comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from layersig.plugin.components import Component
from layersig.plugin.table import suggestion
from layersig.recipe.checks.values import one_or_more
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath


def source_checks(scorer: Component, source: Any, path: KeyPath) -> Iterator[Fault]:
    """A scorer that reads another run must be told which; no other may be."""
    if "rankings" not in scorer.needs:
        if source is not None:
            yield Fault((*path, "source"), f'scorer "{scorer.name}" reads no rankings of another run; leave it out')
    elif source is None:
        yield Fault(
            (*path, "source"), f'missing: scorer "{scorer.name}" reads another run; give "file:" and its folder'
        )
    elif isinstance(source, str) and ":" in source and not source.startswith("file:"):
        yield Fault((*path, "source"), f'must be "file:" and the folder of a run, or a scores.jsonl; got "{source}"')


def ranking_checks(policy: Component, scorers: list[Any], path: KeyPath, *, given: bool) -> Iterator[Fault]:
    """As many scorers as the policy reads rankings."""
    if policy.rankings == "none":
        if given:
            yield Fault((*path, "scorer"), f'policy "{policy.name}" reads no ranking; leave `scorer` out')
    elif not scorers:
        yield Fault((*path, "scorer"), f'missing: policy "{policy.name}" reads a ranking; name a scorer of [scorers]')
    elif policy.rankings == "one" and len(scorers) > 1:
        yield Fault((*path, "scorer"), f'policy "{policy.name}" reads one ranking; got {len(scorers)} scorers')


def ranked_on_checks(policy: Component, given: Any, path: KeyPath, known: Sequence[str]) -> Iterator[Fault]:
    """Data sets that there are, as many as the policy reads rankings."""
    names = one_or_more(given)
    for number, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            place = (*path, "ranked_on", number) if isinstance(given, list) else (*path, "ranked_on")
            yield Fault(place, f'there is no [[data]] named "{name}"{suggestion(name, known)}')
    if policy.rankings == "none" and given is not None:
        yield Fault((*path, "ranked_on"), f'policy "{policy.name}" reads no ranking; leave `ranked_on` out')
    elif policy.rankings == "one" and len(names) > 1:
        yield Fault((*path, "ranked_on"), f'policy "{policy.name}" reads one ranking; got {len(names)} data sets')
