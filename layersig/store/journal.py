"""Finished pieces of a stage's work, kept as they come, so that a stage that is killed does none of them twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypedDict

from layersig.jsonform import dumps
from layersig.store.hashing import sha256_bytes
from layersig.store.lines import intact_lines

Value = TypeVar("Value")


class _LineForm(TypedDict):
    """A piece: its number, what it is, what it gave, and the sha256 of all that."""

    number: int
    piece: str
    value: Any
    sha256: str


class Journal:
    """Pieces of work in a file of lines that only grows, known by their place in the order of the work.

    A stage is a pure function of what its fingerprint names. Run again, it asks for the same pieces in the same order,
    and gets back what is kept instead of computing it. A line that a kill cut short, or that is not what was written,
    does not count.

    Args:
        path: The file; made with the first piece. None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._next = 0
        self._known: dict[int, _LineForm] = {}
        for line in intact_lines(path, _LineForm) if path is not None else ():
            if line["sha256"] == _digest(line["number"], line["piece"], line["value"]):
                self._known[line["number"]] = line

    def once(self, piece: str, work: Callable[[], Value]) -> Value:
        """What the next piece gave, or what `work` gives, which is then kept.

        Args:
            piece: Names the piece; another name at this place means that what is kept belongs to other work.
            work: Computes a JSON value. One with NaN or an infinity is not kept.
        """
        number, self._next = self._next, self._next + 1
        known = self._known.pop(number, None)
        if known is not None and known["piece"] == piece:
            value: Value = known["value"]
            return value
        found = work()
        if self._path is not None:
            self._keep(self._path, number, piece, found)
        return found

    @staticmethod
    def _keep(path: Path, number: int, piece: str, value: Any) -> None:
        try:
            line: _LineForm = {
                "number": number,
                "piece": piece,
                "value": value,
                "sha256": _digest(number, piece, value),
            }
        except ValueError:
            return
        with path.open("a", encoding="utf-8") as file:
            file.write(dumps(line) + "\n")


def _digest(number: int, piece: str, value: Any) -> str:
    return sha256_bytes(dumps([number, piece, value]).encode())
