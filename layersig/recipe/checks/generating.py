"""Checks of `data.generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault


def generate_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of a server that writes responses by another chat template than the recipe's."""
    template = table_at(data, "model").get("chat_template", "auto")
    for number, entry in tables_at(data, "data"):
        if table_at(entry, "generate").get("endpoint") is not None and template != "auto":
            yield Fault(
                ("data", number, "generate", "endpoint"),
                "a server renders chats by the model's own template; leave out `model.chat_template`, or this endpoint",
            )
