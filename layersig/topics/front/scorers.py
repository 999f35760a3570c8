"""What the scorers on the first screen do, in their own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.findings.rows.layers import RANKINGS
from layersig.report.document import Code, Inline, Text
from layersig.report.material import Material
from layersig.topics.front.standings import Place


def about_scorers(material: Material, places: Sequence[Place]) -> tuple[Text, ...]:
    """A sentence for every kind of scorer that arms on the screen choose by, or that ranks layers where there are none.

    The run keeps the first sentences of their docstrings; runs of earlier versions kept none.
    """
    used = [name for place in places for standing in place.standings for name in standing.selection.scorers]
    kinds = {row.scorer: row.kind for row in material.findings[RANKINGS]}
    words: Mapping[str, str] = material.manifest.get("scorers", {})
    by_kind: dict[str, list[str]] = {}
    for name in dict.fromkeys(used or (row.scorer for row in material.lead)):
        if words.get(kinds.get(name, "")):
            by_kind.setdefault(kinds[name], []).append(name)
    told: list[Text] = [(*_names(names), f": {words[kind]}.") for kind, names in by_kind.items()]
    policies = {each.selection.policy.partition(",")[0] for place in places for each in place.standings if place.prunes}
    if told and "lowest" in policies:
        told.append(("The lowest-scoring blocks are removed.",))
    return tuple(told)


def _names(names: Sequence[str]) -> Text:
    found: list[Inline] = []
    for name in names:
        found += [", ", Code(name)] if found else ["Scorer ", Code(name)]
    return tuple(found)
