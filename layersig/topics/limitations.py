"""Limits of what the run shows, and threats to its validity."""

from __future__ import annotations

from layersig.report.document import Block, Bullets, Heading, Section, Text
from layersig.report.material import Material
from layersig.report.topic import Topic
from layersig.topics.rigor.rows import LIMITATIONS

_TITLES = {"limitation": "Limitations", "threat": "Threats to validity"}


def section(material: Material) -> Section | None:
    """None before anything was found."""
    rows = material.findings[LIMITATIONS]
    blocks: list[Block] = []
    for kind, title in _TITLES.items():
        items: tuple[Text, ...] = tuple((row.sentence,) for row in rows if row.kind == kind)
        if items:
            blocks += [Heading(title), Bullets(items)]
    return Section("limitations", "Limitations and threats to validity", tuple(blocks)) if blocks else None


TOPIC = Topic("limitations", section=section, place=210)
