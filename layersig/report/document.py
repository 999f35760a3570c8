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


@dataclass(frozen=True, slots=True)
class Bar:
    """A share as a bar; those of controls are pale."""

    share: float
    control: bool = False

    @property
    def text(self) -> str:
        """The bar in characters, a tenth each."""
        return "\u2588" * round(10 * self.within)

    @property
    def within(self) -> float:
        """The share, where it lies from 0 to 1."""
        return min(1.0, max(0.0, self.share))


Inline = str | Code | Strong | Bar
Text = tuple[Inline, ...]


def plain(text: Text) -> str:
    """Text without its marks."""
    return "".join(part if isinstance(part, str) else part.text for part in text)


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
class Step:
    """Something to do: what it is for, and the command."""

    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next."""

    items: tuple[Step, ...]


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
        lifts: Whether what a wide table holds in every row is said once instead.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Inline, ...], ...]
    csv: str | None = None
    lifts: bool = True


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


Block = Paragraph | Heading | Bullets | Callout | Steps | Table | Figure | Listing | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report with a heading; `name` is its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report: a first screen that answers its question, and parts that are folded away.

    Attributes:
        name: What it is a report of, such as the name of the run.
        facts: Model, data, seeds, in a few words each.
        headline: The answer in one sentence.
        front: The rest of the first screen.
        sections: All other parts in order.
    """

    name: str
    facts: tuple[str, ...]
    headline: str
    front: tuple[Block, ...]
    sections: tuple[Section, ...]

    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in order."""
        return tuple(_figures([*self.front, *(block for section in self.sections for block in section.blocks)]))


def _figures(blocks: Sequence[Block]) -> list[Figure]:
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Details):
            found += _figures(block.blocks)
    return found
