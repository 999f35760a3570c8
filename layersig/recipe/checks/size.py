"""An upper limit on the size of a study: a list that is long by mistake makes a graph that takes minutes to build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from layersig.recipe.checks.values import controlled_arms, list_at, selecting_arms, table_at
from layersig.recipe.faults import Fault
from layersig.recipe.schema.arms import missing_controls

MOST = 10_000
"""Largest number of trainings and scorings; the largest recipe of the published tables has about 400."""


def size_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault where there are more than `MOST` trainings and scorings over all data sets and seeds."""
    analyze = table_at(data, "analyze")
    sets, selecting = analyze.get("control_sets", 1), selecting_arms(data)
    sets = sets if type(sets) is int and 1 < sets <= MOST else 1
    added = (control for arm in controlled_arms(data) for control in missing_controls(arm, selecting, sets))
    controls = sum(1 for _ in islice(added, MOST + 1))
    seeds, arms, scorers = list_at(data, "seeds"), list_at(data, "arms"), table_at(data, "scorers")
    each = len(arms) + len(scorers) + controls
    total = each * max(1, len(seeds)) * max(1, len(list_at(data, "data")))
    if total > MOST:
        largest = max((("seeds", len(seeds)), ("arms", len(arms)), ("scorers", len(scorers))), key=lambda pair: pair[1])
        place = ("analyze", "control_sets") if controls > largest[1] else (largest[0],)
        reason = f"asks for {total:,} trainings and scorings over all data sets and seeds, of at most {MOST:,}"
        yield Fault(place, f"the recipe {reason}; split it into several")
