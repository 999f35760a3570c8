"""Which rows of a batch belong to which example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Segment(NamedTuple):
    """The rows of a layer's input that belong to one example."""

    example: str
    start: int
    rows: int


class Layout(NamedTuple):
    """The rows of a layer's input, by example; rows that belong to no segment are padding."""

    rows: int
    segments: Sequence[Segment]
