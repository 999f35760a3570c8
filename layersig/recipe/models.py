"""Several models in one recipe: each of `[[models]]` gives a separate recipe with one `[model]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath


class ModelChoice(NamedTuple):
    """The model of a recipe, chosen from `[[models]]`.

    Attributes:
        name: Its name; None for a recipe with one model.
        written: Paths, as written, of the keys of `[model]`.
        faults: Faults of `[[models]]`.
    """

    name: str | None
    written: Mapping[KeyPath, KeyPath]
    faults: list[Fault]


def choose(data: dict[str, Any], number: int | None) -> ModelChoice:
    """In `data`, replace `[model]` by one of `[[models]]`, and append the model's name to that of the recipe.

    Args:
        data: The raw values of a recipe, valid or not.
        number: Index of the model; None for a recipe that must have one model.
    """
    if "models" not in data:
        return ModelChoice(None, {}, [])
    faults = list(_faults(data))
    entries = dict(tables_at(data, "models"))
    if number is None:
        faults.append(
            Fault(("models",), "this recipe has several models; load it with `load_all`, which gives a recipe for each")
        )
    del data["models"]
    entry = entries.get(number or 0, {})
    own = {key: value for key, value in entry.items() if key != "name"}
    data["model"] = {**table_at(data, "model"), **own}
    if isinstance(data.get("name"), str) and isinstance(entry.get("name"), str):
        data["name"] = f"{data['name']}-{entry['name']}"
    written: dict[KeyPath, KeyPath] = {("model", key): ("models", number or 0, key) for key in own}
    written |= {("model", "source"): ("models", number or 0, "source")}
    return ModelChoice(entry.get("name"), written, faults)


def _faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    if not isinstance(data["models"], list) or not data["models"]:
        yield Fault(("models",), "must be tables [[models]], each with a `name` and a `source`")
        return
    seen: set[str] = set()
    for number, entry in enumerate(data["models"]):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            yield Fault(
                ("models", number, "name"),
                "missing; give a name, which is appended to the name of the recipe in that of the run",
            )
        elif name.casefold() in seen:
            yield Fault(
                ("models", number, "name"), f'"{name}" is taken by an earlier entry of `models`; names are unique'
            )
        else:
            seen.add(name.casefold())
    for key in table_at(data, "model"):
        if all(isinstance(entry, dict) and key in entry for entry in data["models"]):
            reason = f"every entry of `models` has its own; set `models.NAME.{key}`, or remove it here"
            yield Fault(("model", key), reason)
