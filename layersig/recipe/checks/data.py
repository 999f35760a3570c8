"""Checks of `[[data]]`: splits, and `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import DataSettings, GenerateSettings

_ONE_FILE = ("file", "pypi")
"""Schemes of sources without splits; whether those of plugins have some is theirs to say."""


def data_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of splits and of sampling keys that have no effect, and of a server with another chat template."""
    template = table_at(data, "model").get("chat_template", "auto")
    for number, entry in tables_at(data, "data"):
        yield from split_checks(("data", number), entry)
        yield from draw_checks(("data", number, "generate"), entry.get("generate"), GenerateSettings)
        if table_at(entry, "generate").get("endpoint") is not None and template != "auto":
            yield Fault(
                ("data", number, "generate", "endpoint"),
                "a server renders chats by the model's own template; leave out `model.chat_template`, or this endpoint",
            )


def split_checks(path: KeyPath, entry: Mapping[str, Any]) -> Iterator[Fault]:
    """The fault of a split of a source that has none.

    Args:
        path: Where the source is named.
        entry: The table that names it, and perhaps its fallback.
    """
    named = [entry[key] for key in ("source", "fallback") if isinstance(entry.get(key), str)]
    usual = DataSettings.model_fields["split"].default
    single = named and all(source.partition(":")[0] in _ONE_FILE for source in named)
    if single and entry.get("split", usual) != usual:
        reason = f'only `hub:` sources have splits; name the file of the split in `source`, and leave this at "{usual}"'
        yield Fault((*path, "split"), reason, idle=True)


def draw_checks(path: KeyPath, table: Any, settings: type[BaseModel]) -> Iterator[Fault]:
    """Faults of keys that set how text is drawn, beside a temperature of 0.

    Args:
        path: Where the table is written.
        table: The table.
        settings: Its schema, by whose defaults resolved recipes write out keys that were not given.
    """
    usual = {key: field.default for key, field in settings.model_fields.items()}
    if not isinstance(table, dict) or table.get("temperature", usual["temperature"]) != 0:
        return
    for key in ("top_p", "top_k"):
        if table.get(key, usual.get(key)) not in (usual.get(key), 1.0):
            reason = "sets how text is drawn, and temperature 0 draws none; give a temperature above 0, or remove it"
            yield Fault((*path, key), reason, idle=True)
