"""When the state of long work is saved, so that little is lost when its process is killed."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60.0
"""Wall time that may be lost; also the shortest between two savings."""
SHARE = 0.1
"""Largest share of the wall time that goes into saving; more is lost where saving takes longer than this allows."""


class Interval:
    """Says when to save, so that no more than `SECONDS` of work are ever lost, or one piece that takes longer."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._due = self._ended + SECONDS

    def over(self) -> bool:
        """Whether another piece of work like the one that has just ended would end too late."""
        before, self._ended = self._ended, time.monotonic()
        return self._ended + (self._ended - before) >= self._due

    def save(self, write: Callable[[], None]) -> None:
        """Save, and begin to count again."""
        began = time.monotonic()
        write()
        self._ended = time.monotonic()
        self._due = self._ended + max(SECONDS, (self._ended - began) / SHARE)
