"""Keeps in the run folder what a recipe reads from this machine, so that the run can be repeated from there alone.

`repeat/recipe.toml` is the resolved recipe; beside it lie the plugin files, data, tasks, questions and rankings that it
names, under the names that they have relative to the recipe. Models and updates stay where they are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layersig.recipe.load import LoadedRecipe
from layersig.recipe.resolve import to_toml
from layersig.recipe.schema import Recipe
from layersig.sources.entries import hash_files
from layersig.sources.rankings import rankings_file
from layersig.store.cache import cache_root
from layersig.store.files import files_below, write_atomic
from layersig.store.hashing import sha256_bytes
from layersig.store.runfolder import REPEAT, KeptForm, RunFolder

LARGEST = 1 << 28
"""Bytes of the largest file that is copied; a larger one is named by its place and sha256."""
_APART = "elsewhere"
"""Folder of files that do not lie below the recipe's own."""
_WEIGHTS = re.compile(r"(model|update)\.(source|fallback)|arms\.\d+\.checkpoint")
_PATH = re.compile("(untrained:)?path:")
_TASK = re.compile(r"(evaluate|scorers\..+)\.tasks\.\d+(\.source)?")


def keep_inputs(folder: RunFolder, loaded: LoadedRecipe, packages: Mapping[str, str]) -> list[KeptForm]:
    """Write `repeat/`: recipe, local inputs, `requirements.txt`.

    Args:
        folder: The run.
        loaded: Its recipe, whose sources were resolved.
        packages: Versions of installed distributions.

    Returns:
        Every local input with its digest, copied or, because of its size, left where it is.
    """
    target = folder.path / REPEAT
    keeper = _Keeper(loaded.base_dir, target)
    values = keeper.rewritten(loaded.recipe.model_dump(mode="json"))
    write_atomic(target / "recipe.toml", to_toml(Recipe.model_validate_json(json.dumps(values))))
    pins = "".join(f"{name}=={version}\n" for name, version in packages.items())
    write_atomic(target / "requirements.txt", pins)
    kept = list(keeper.kept.values())
    known = {f"{REPEAT}/recipe.toml", f"{REPEAT}/requirements.txt", *(each["file"] for each in kept)}
    for name in files_below(target):
        if f"{REPEAT}/{name.as_posix()}" not in known:
            (target / name).unlink()
    return kept


@dataclass
class _Keeper:
    """Copies files and says what the recipe beside the copies calls them."""

    base: Path
    target: Path
    kept: dict[Path, KeptForm] = field(default_factory=dict)

    def rewritten(self, value: Any, key: str = "") -> Any:
        """A value of the recipe, its local files kept and named as they are beside the kept recipe."""
        if isinstance(value, dict):
            return {name: self.rewritten(each, f"{key}.{name}".lstrip(".")) for name, each in value.items()}
        if isinstance(value, list):
            return [self.rewritten(each, f"{key}.{number}") for number, each in enumerate(value)]
        if not isinstance(value, str):
            return value
        if key.startswith("plugins."):
            return self._keep(key, value, {self._path(value)})
        if (local := _PATH.match(value)) and _WEIGHTS.fullmatch(key):
            return f"{local[0]}{self._path(value[local.end() :])}"
        scheme, _, name = value.partition(":")
        if scheme != "file" or key in ("name", "description"):
            return value
        path = self._path(name)
        if path.is_dir() and key.startswith("scorers."):
            path = rankings_file(path)
        if not path.is_file():  # a source that its fallback stands for, or a word of a plugin's own
            return value
        return f"file:{self._keep(key, name, _parts(key, path))}"

    def _path(self, name: str) -> Path:
        return (self.base / Path(name).expanduser()).resolve()

    def _keep(self, key: str, name: str, parts: set[Path]) -> str:
        """Copy a file with all that belongs to it; what the kept recipe calls it."""
        named = self._path(name)
        path = named if named in parts else min(parts)
        root = path.parent
        movable = all(part.is_relative_to(root) and part.stat().st_size <= LARGEST for part in parts)
        relative = Path(os.path.relpath(path, self.base))
        below = not Path(name).is_absolute() and ".." not in relative.parts
        home = relative.parent if below else Path(_APART, sha256_bytes(str(root).encode())[:8])
        for part in sorted(parts):
            self._note(key, part, home / part.relative_to(root) if movable else None)
        if not movable:
            return str(path)
        return name if below and path == named else (home / path.name).as_posix()

    def _note(self, key: str, path: Path, to: Path | None) -> None:
        digest = _digest(path)
        if to is not None and not ((self.target / to).is_file() and _digest(self.target / to) == digest):
            write_atomic(self.target / to, path.read_bytes())
        file = None if to is None else f"{REPEAT}/{to.as_posix()}"
        self.kept[path] = {"key": key, "file": file, "name": path.name, "sha256": digest}


def _parts(key: str, path: Path) -> set[Path]:
    """A file and, where it defines a task, everything that the task is made of."""
    if not _TASK.fullmatch(key):
        return {path}
    from layersig.evaluating.tasks import task_files

    return {part.resolve() for part in task_files(path)}


def _digest(path: Path) -> str:
    return hash_files(cache_root(), {"file": path})["file"]
