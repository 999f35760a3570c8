"""What was declared before it was measured.

A recipe's `[analyze]` says which comparison is confirmatory. That means something only if it was said before the
outcome could be known, so every start of a run puts its declaration on record, and a result keeps the hashes of all
declarations that were on record before it was computed. A declaration that came later is exploratory, however the cache
was filled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layersig.records import dumps
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

    def put(self, declaration: Mapping[str, Any]) -> str:
        """Put a declaration on record, unless it is there already.

        Returns:
            Its hash, 64 hex digits.
        """
        digest = sha256_json(declaration)
        path, text = self._folder / f"{digest}.json", dumps(declaration, indent=1) + "\n"
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomic(path, text)
        return digest

    def on_record(self) -> list[str]:
        """Hashes of all declarations, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json") if _DIGEST.fullmatch(path.stem))
