"""What the user should know of the way in which a model is run, from code that knows no stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_watching: list[list[str]] = []
_taken: set[str] = set()


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collects what is noted within this context and was not noted before: it concerns the model, not one stage."""
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching[:] = [other for other in _watching if other is not found]


def note(text: str) -> None:
    """Inform whoever watches; once a process."""
    if _watching and text not in _taken:
        _taken.add(text)
        for watcher in _watching:
            watcher.append(text)
