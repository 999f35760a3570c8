"""Which items of a task are not independent: they share a source, a passage, or a pair of twins."""

from __future__ import annotations

import hashlib
from typing import Any

from layersig.data.values import is_blank
from layersig.evaluating.local import LocalTask

_FIELDS = ("source_id", "fact1", "passage")
"""Fields whose equal values tie items together: HellaSwag's source, OpenBookQA's fact, BoolQ's passage."""


def clusters_of(part: LocalTask) -> list[str | None]:
    """A label for the cluster of each chosen row; None for a row that stands alone."""
    if {"option1", "option2", "sentence"} <= set(part.features):
        return _twins(part)
    field = next((field for field in _FIELDS if field in part.features), None)
    if field is None:
        return [None] * len(part.chosen or ())
    return [_label(row[field]) for row in part.eval_docs]


def _label(value: Any) -> str | None:
    return None if is_blank(value) else hashlib.sha256(str(value).encode()).hexdigest()[:12]


def _twins(part: LocalTask) -> list[str | None]:
    """WinoGrande's pairs: the twin sentences stand one after the other and offer the same two options."""
    pairs: list[int] = []
    alone: set[str] = set()
    for row in part.scored_rows:
        options = {row["option1"].lower(), row["option2"].lower()}
        twin = options == alone
        pairs.append(pairs[-1] if twin else len(pairs))
        alone = set() if twin else options
    return [f"pair-{pairs[index]}" for index in part.chosen or ()]
