"""A recipe with grids, made of parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import LoadedRecipe, load

HEAD = """\
name = "swept"
seeds = [0, 1]

[model]
source = "hub:org/model"
"""
DATA = '[[data]]\nname = "chats"\nsource = "hub:org/chats"\n'
SCORERS = '[scorers.ila]\nkind = "ila"\n[scorers.chance]\nkind = "random"\n'
ILA = '[[arms]]\nname = "ila"\nscorer = "ila"\nselect = { kind = "top" }\ngrid.select.fraction = [0.3, 0.05]\n'


def loaded(folder: Path, *parts: str, overrides: tuple[str, ...] = ()) -> LoadedRecipe:
    path = folder / "study.toml"
    path.write_text("\n".join((HEAD, *parts)), encoding="utf-8")
    return load(path, overrides)


def faults(folder: Path, *parts: str, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(UserError) as told:
        loaded(folder, *parts, overrides=overrides)
    lines = str(told.value).splitlines()
    return [line.strip().removeprefix(f"{folder}/") for line in (lines[1:] if len(lines) > 1 else lines)]
