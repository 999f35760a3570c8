"""Logs of lines that only grow, read back after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from layersig.jsonform import parse_json

Form = TypeVar("Form")


def intact_lines(path: Path, form: type[Form]) -> Iterator[Form]:
    """The lines of a log up to the first that is damaged or incomplete, before which the file is cut.

    Args:
        path: The log; one that is not there has no lines.
        form: What each line holds.
    """
    if not path.exists():
        return
    intact = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            found = parse_json(line, form)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        intact += len(line)
        yield found
    if intact < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(intact)
