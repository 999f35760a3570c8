"""The record of declarations, which shows what was declared before it was measured.

A recipe's `[analyze]` says which comparisons are confirmatory. That means something only if it was said before the
outcome could be known, and if nothing else was said as well. So every start of a run puts its declaration on record as
one set, and a result keeps the hash of the declaration of the run that computed it, with those of all others on record
by then. It is confirmatory under that one alone. A declaration that came later, or that another one followed before the
result was computed, makes nothing confirmatory, however the cache was filled. The report counts the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layersig.jsonform import dumps
from layersig.store.files import write_atomic
from layersig.store.hashing import sha256_json

_DIGEST = re.compile("[0-9a-f]{64}")


class Declarations:
    """The declarations on record in one cache.

    Args:
        root: The cache folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "declarations"

    def put(self, declaration: Mapping[str, Any]) -> tuple[str, ...]:
        """Put a declaration on record, unless it is there already.

        Args:
            declaration: What is declared, and under `model` of which model.

        Returns:
            Hashes of 64 hex digits: its own, then those of all others for the same model, sorted. One that cannot be
            read counts as such.
        """
        digest = sha256_json(declaration)
        path, text = self._folder / f"{digest}.json", dumps(declaration, indent=1) + "\n"
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomic(path, text)
        others = (each for each in self._folder.glob("*.json") if _DIGEST.fullmatch(each.stem) and each != path)
        return digest, *sorted(each.stem for each in others if _model(each) in (None, declaration.get("model")))


def _model(path: Path) -> Any:
    """What model a declaration is for; None where that cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value.get("model") if isinstance(value, dict) else None
