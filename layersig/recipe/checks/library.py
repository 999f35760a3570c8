"""The task definitions of lm-eval as text, searched by name without importing lm-eval."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

_FIRST_WORD = re.compile(r"[A-Za-z0-9]+")


def definitions_named(names: Iterable[str]) -> Iterator[str]:
    """The text of every definition whose path contains the first word of one of the tasks' names."""
    words = {word[0].lower() for name in names if (word := _FIRST_WORD.match(name))}
    spec = find_spec("lm_eval") if words else None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder, _, files in os.walk(Path(place) / "tasks"):
            for name in files:
                path = Path(folder, name)
                if path.suffix in (".yaml", ".yml") or not path.suffix:
                    inside = str(path.relative_to(place)).lower()
                    if any(word in inside for word in words):
                        yield text_of(path)


def text_of(path: Path) -> str:
    """The text of a file, or an empty one if it cannot be read: loading the task reports that."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
