"""Load a recipe: read it, apply overrides, find every fault at once, and write out every default."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from layersig.errors import UserError
from layersig.plugin.table import Components
from layersig.recipe.checks import cross_checks, plugin_files, strange_values, unread_keys, unusable_text
from layersig.recipe.faults import Fault, Origins, error, faults_of
from layersig.recipe.grid import GridExpansion, expand
from layersig.recipe.models import ModelChoice, choose
from layersig.recipe.overrides import apply
from layersig.recipe.positions import KeyPath, locate
from layersig.recipe.read import read
from layersig.recipe.resolve import recipe_id, to_toml, with_defaults
from layersig.recipe.resolve import smoke as shortened
from layersig.recipe.schema import Recipe
from layersig.recipe.template import inline_template
from layersig.recipe.ungraded import without_ungraded


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe, and where it comes from.

    Attributes:
        recipe: The recipe, with every default written out.
        path: The recipe file.
        text: The text of the file.
        overrides: The overrides as the user typed them.
        smoke: Whether it was shortened by `--smoke`.
        components: The components that it may name: built-in, installed, and from its plugin files.
        plugin_files: Its plugin files.
        origins: Line or override of every key as written, for messages about faults that only later stages can find.
        expanded: Where entries that were expanded from grids are written.
        skipped: What the run leaves out although the recipe names it, and how to change that.
        of_model: Name of its model among `[[models]]`; None for a recipe with one model.
    """

    recipe: Recipe
    path: Path
    text: str
    overrides: tuple[str, ...]
    smoke: bool
    components: Components
    plugin_files: tuple[Path, ...]
    origins: Origins
    expanded: GridExpansion
    skipped: tuple[str, ...]
    of_model: str | None = None

    @property
    def base_dir(self) -> Path:
        """Folder that relative `file:` and `path:` sources start from."""
        return self.path.resolve().parent

    @property
    def resolved(self) -> str:
        """The resolved recipe as TOML."""
        return to_toml(self.recipe)

    @property
    def id(self) -> str:
        """12 hex digits, equal for equal resolved recipes."""
        return recipe_id(self.recipe)

    def where(self, *path: str | int) -> str:
        """Where a key was set: `recipe.toml:12`, or the override."""
        return self.origins.where(self.expanded.as_written(path))


def load_all(path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> tuple[LoadedRecipe, ...]:
    """Load and check a recipe with one model or several: one recipe for each.

    Raises:
        UserError: As for `load`; with several models, the faults of the first model that has some.
    """
    _, data = read(Path(path))
    apply(data, overrides, Path(path).resolve().parent, Origins(str(path), {}))
    if "models" not in data:
        return (load(path, overrides, smoke=smoke),)
    count = len(data["models"]) if isinstance(data["models"], list) else 0
    return tuple(load(path, overrides, smoke=smoke, model=number) for number in range(max(1, count)))


def load(
    path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False, model: int | None = None
) -> LoadedRecipe:
    """Load and check a recipe. Imports nothing but its plugin files and the modules of the components it names.

    Args:
        path: A TOML file.
        overrides: `key.sub=value`; paths in them are relative to the working directory.
        smoke: Make every stage as short as possible.
        model: Index into `[[models]]`; None for a recipe with one `[model]`.

    Raises:
        UserError: The recipe is invalid; the message lists every fault with its line, key and remedy.
    """
    path = Path(path)
    text, data = read(path)
    base_dir = path.resolve().parent
    origins, faulty = apply(data, overrides, base_dir, Origins(str(path), locate(text)))
    if unusable := list(unusable_text(data)):
        raise error([*faulty, *unusable], origins)
    chosen, expanded = _written_out(data, model)
    components, files, faults = plugin_files(data, base_dir)
    faulty += [*chosen.faults, *expanded.placed(inline_template(data, base_dir))]
    crossed = _crossed(data, components, base_dir, expanded, origins)
    if overrides and any(fault.idle for fault in crossed):
        before = _idle_in_file(path, model, components)
        written = [expanded.as_written(fault.path) for fault in crossed]
        crossed = [
            fault
            for fault, place in zip(crossed, written, strict=True)
            if not fault.idle or place in before or origins.overridden(place)
        ]
    if faults:  # what a broken plugin file would have brought is not missed as well
        crossed = [
            fault
            for fault in crossed
            if fault.path[-1:] not in (("kind",), ("method",), ("objective",), ("source",), ("fallback",))
        ]
    found = [*strange_values(data), *faults, *crossed]
    recipe = _parsed(data, found)
    found = [*faulty, *expanded.faults, *expanded.placed(found)]
    if found or recipe is None:
        raise error(found, origins)
    recipe, skipped = without_ungraded(with_defaults(recipe, components))
    return LoadedRecipe(
        recipe=shortened(recipe) if smoke else recipe,
        path=path,
        text=text,
        overrides=tuple(overrides),
        smoke=smoke,
        components=components,
        plugin_files=files,
        origins=origins,
        expanded=expanded,
        skipped=skipped,
        of_model=chosen.name,
    )


def _written_out(data: dict[str, Any], model: int | None) -> tuple[ModelChoice, GridExpansion]:
    """Take one of several models and copy the entries that grids vary, in place."""
    chosen = choose(data, model)
    expanded = expand(data)
    return chosen, expanded._replace(written={**expanded.written, **chosen.written})


def _crossed(
    data: Mapping[str, Any], components: Components, base_dir: Path, expanded: GridExpansion, origins: Origins
) -> list[Fault]:
    """Faults of keys that are read together; a key that a grid leaves without effect in some entries alone is none."""

    def together(*paths: KeyPath) -> bool:
        written = [expanded.as_written(path) for path in paths]
        return len({(path[:-1], origins.order(path)[0]) for path in written}) == 1

    found = [*cross_checks(data, components, base_dir), *unread_keys(data, components, together)]
    idle = {fault.path for fault in found if fault.idle}
    return [fault for fault in found if not fault.idle or expanded.everywhere(fault.path, idle)]


def _idle_in_file(path: Path, model: int | None, components: Components) -> set[KeyPath]:
    """The keys without effect in a recipe as it is written, before any override."""
    text, data = read(path)
    _, expanded = _written_out(data, model)
    found = _crossed(data, components, path.resolve().parent, expanded, Origins(str(path), locate(text)))
    return {expanded.as_written(fault.path) for fault in found if fault.idle}


def stored(path: Path) -> Recipe:
    """The resolved recipe in a run folder; its plugins need not be installed any more.

    Raises:
        UserError: It is missing, or differs from what `to_toml` wrote.
    """
    try:
        text, data = read(path)
        found: list[Fault] = [*unusable_text(data), *strange_values(data)]
        recipe = _parsed(data, found)
        if found or recipe is None:
            raise error(found, Origins(str(path), locate(text)))
    except UserError as fault:
        raise UserError(f"{fault}; run the recipe again to have it rebuilt") from fault
    return recipe


def _parsed(data: dict[str, Any], found: list[Fault]) -> Recipe | None:
    try:
        # Pydantic's JSON mode is as strict as a recipe needs: an array may become a tuple, but 1 is no string.
        return Recipe.model_validate_json(json.dumps(data, default=str))
    except ValidationError as problem:
        found += faults_of(problem, Recipe, data)
        return None
