"""The report as a tree of plain values, which `html` and `markdown` render without knowing what it is about.

Text never carries markup: whatever a string holds is shown as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Code:
    """A name or literal: a layer, a file, a key."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """A stressed phrase."""

    text: str


Inline = str | Code | Strong
Text = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: Text


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Callout:
    """Something that must not be missed."""

    kind: Literal["warning", "note"]
    title: str
    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure: what it is, its value, and what it rests on."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Tiles:
    """Headline figures side by side."""

    items: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers are set flush right."""

    head: str
    numeric: bool = False


def columns(*heads: str) -> tuple[Column, ...]:
    """Columns by their heads; a leading `#` marks numbers."""
    return tuple(Column(head.removeprefix("#"), head.startswith("#")) for head in heads)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption.

    Attributes:
        caption: What it shows.
        columns: Heads.
        rows: Cells, as many in a row as there are columns.
        csv: File with every number of it; None where there is none.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Inline, ...], ...]
    csv: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        name: File name below `figures/`, without ending.
        title: What it shows.
        svg: The drawing, an `<svg>` element.
        alt: What someone who cannot see it needs to know.
        caption: How to read it.
        csv: Files with every number of it.
    """

    name: str
    title: str
    svg: str
    alt: str
    caption: str
    csv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Text with its line breaks: a prompt, a file; stressed parts stand out."""

    title: str
    text: Text


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are folded away on screen."""

    summary: str
    blocks: tuple[Block, ...]


Block = Paragraph | Heading | Bullets | Callout | Tiles | Table | Figure | Listing | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report with a heading; `name` is its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        title: Name of the run.
        subtitle: What the run is about.
        facts: Model, data, seeds: label and value.
        sections: Its parts in order.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in order."""
        return tuple(figure for section in self.sections for figure in _figures(section.blocks))


def _figures(blocks: Sequence[Block]) -> list[Figure]:
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Details):
            found += _figures(block.blocks)
    return found
