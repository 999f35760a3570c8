"""The answer of a report in a few lines for a terminal: its first screen as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from layersig.report.document import Block, Bullets, Table, plain
from layersig.report.material import Material
from layersig.report.terminal import aligned
from layersig.topics.front.chosen import composition, distinct_choices, drawn, title_of
from layersig.topics.front.declared import declared_of_rankings
from layersig.topics.front.headline import headline
from layersig.topics.front.limits import limits
from layersig.topics.front.next_steps import next_steps
from layersig.topics.front.ranked import ranked
from layersig.topics.front.rows import contrasts, table
from layersig.topics.front.scorers import about_scorers
from layersig.topics.front.standings import places_of
from layersig.topics.front.warnings import warnings

_WIDTH = 110


def brief(material: Material) -> str:
    """The sentence, what is missing, the arms, the layers, what limits the answer, and what to do next."""
    places = places_of(material)
    parts = [_wrapped(headline(material, places))]
    for callout in warnings(material):
        parts.append("\n".join([f"{callout.title}:", *(_wrapped(f"- {plain(text)}", "  ") for text in callout.items)]))
    about = "\n".join(_wrapped(f"- {plain(text)}", "  ") for text in about_scorers(material, places))
    if places:
        arms = table(material, places, differences=False)
        parts += [*_text(arms), about]
        if pairs := list(contrasts(material, places)):
            parts.append("\n".join(["Declared contrasts:", *(f"  {pair}" for pair in pairs)]))
        for place, where in distinct_choices(material, places):
            legend = "\u25a0 in every run, \u25aa in some" if place.lead.selection.runs > 1 else "\u25a0 yes"
            head = f"{title_of(material, place)}{'' if place.prunes else ', trained'} on {where} ({legend}):"
            parts.append("\n".join([head, *drawn(material, place), _wrapped(plain(composition(material, place)))]))
    else:
        for block in ranked(material):
            parts += _text(block)
        parts.append(about)
    if tests := declared_of_rankings(material):
        parts.append("\n".join(["Declared tests of rankings:", *(_wrapped(f"- {test}", "  ") for test in tests)]))
    if told := limits(material, places):
        parts.append("\n".join(["How far this goes:", *(_wrapped(f"- {plain(text)}", "  ") for text in told)]))
    parts += [f"{step.why}\n  {step.command}" for step in next_steps(material, places)]
    return "\n\n".join(part for part in parts if part)


def _text(block: Block) -> Iterator[str]:
    match block:
        case Bullets():
            yield from (_wrapped(plain(item)) for item in block.items)
        case Table():
            yield "\n".join([*_table(block), "", _wrapped(f"{block.caption}.")])


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(arms: Table) -> Iterator[str]:
    """The table in columns; a column without a head holds bars, which a terminal leaves out."""
    shown = [i for i, column in enumerate(arms.columns) if column.head]
    rows = [[column.head for column in arms.columns], *([plain((cell,)) for cell in row] for row in arms.rows)]
    yield from aligned([tuple(row[i] for i in shown) for row in rows])
