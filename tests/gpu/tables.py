"""What a case is, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.gpu.shapes import Setting

Row = Sequence[str]


@dataclass(frozen=True)
class Note:
    """A sentence under the table."""

    text: str


@dataclass(frozen=True)
class Case:
    """A table to be measured.

    Attributes:
        title: Its heading.
        about: What it shows.
        columns: Its columns.
        seconds: Its share of the ten minutes, start of the process included.
        run: Yields rows and notes.
    """

    title: str
    about: str
    columns: Sequence[str]
    seconds: int
    run: Callable[[Setting], Iterator[Row | Note]]
