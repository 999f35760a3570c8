"""Which topics a report has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module

from layersig.errors import UserError
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.manager import OfferedTopic, offered_topics
from layersig.report.topic import Topic
from layersig.topics import (
    agreement,
    arms,
    block_agreement,
    blocks,
    bridge,
    card,
    carried,
    ceilings,
    claims,
    contribution,
    cost,
    data,
    dependence,
    failures,
    incidents,
    judge,
    layers,
    leaderboard,
    limitations,
    looks,
    memorisation,
    milestones,
    own_responses,
    provenance,
    recovery,
    removal,
    retention,
    rigor,
    sanity,
    stability,
    sweeps,
    text_probes,
    training,
    tuning_cost,
)

TOPICS: tuple[Topic, ...] = (
    layers.TOPIC,
    agreement.TOPIC,
    ceilings.TOPIC,
    stability.TOPIC,
    sanity.TOPIC,
    contribution.TOPIC,
    card.TOPIC,
    dependence.TOPIC,
    bridge.TOPIC,
    block_agreement.TOPIC,
    looks.TOPIC,
    arms.TOPIC,
    carried.TOPIC,
    sweeps.TOPIC,
    incidents.TOPIC,
    retention.TOPIC,
    removal.TOPIC,
    recovery.TOPIC,
    own_responses.TOPIC,
    failures.TOPIC,
    blocks.TOPIC,
    text_probes.TOPIC,
    claims.TOPIC,
    leaderboard.TOPIC,
    judge.TOPIC,
    training.TOPIC,
    data.TOPIC,
    memorisation.TOPIC,
    rigor.TOPIC,
    limitations.TOPIC,
    provenance.TOPIC,
    cost.TOPIC,
    tuning_cost.TOPIC,
    milestones.TOPIC,
)
"""The built-in topics; `analysis.json` holds their tables and notes in this order."""


@cache
def all_topics() -> tuple[tuple[Topic, ...], tuple[str, ...]]:
    """The built-in topics and those of installed plugins, and a sentence for every one that cannot be used."""
    found, problems = list(TOPICS), []
    for offered in offered_topics():
        try:
            found.append(_usable(_loaded(offered), found))
        except (Exception, SystemExit) as error:
            if raises_plugin_errors():
                raise
            problems.append(f'topic "{offered.where}" ({offered.plugin}) is left out: {cause(error, offered.where)}')
    return tuple(found), tuple(problems)


def computing_order(topics: Sequence[Topic]) -> tuple[Topic, ...]:
    """The topics in an order in which all that one reads is computed before it.

    Raises:
        graphlib.CycleError: Topics read one another in a circle.
    """
    owner = {table: topic.name for topic in topics for table in topic.tables}
    graph = {topic.name: dict.fromkeys(owner[table] for table in topic.reads) for topic in topics}
    by_name = {topic.name: topic for topic in topics}
    return tuple(by_name[name] for name in TopologicalSorter(graph).static_order())


def _loaded(offered: OfferedTopic) -> Topic:
    module, _, attribute = offered.where.partition(":")
    topic = getattr(import_module(module), attribute)
    if not isinstance(topic, Topic):
        raise UserError(f"it is a {type(topic).__name__}, not a layersig.report.topic.Topic")
    return replace(topic, plugin=offered.plugin)


def _usable(topic: Topic, others: Sequence[Topic]) -> Topic:
    """The topic, where it takes no name of another and reads only what topics before it compute."""
    names = {other.name for other in others}
    tables = {table.name: table for other in others for table in other.tables}
    if topic.name in names:
        raise UserError(f"there is another topic {topic.name!r}")
    if taken := sorted(table.name for table in topic.tables if table.name in tables):
        raise UserError(f"there is another table {taken[0]!r}")
    if unknown := [table.name for table in topic.reads if table not in tables.values()]:
        raise UserError(f"it reads the table {unknown[0]!r}, which no topic before it computes")
    return topic
