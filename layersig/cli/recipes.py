"""`layersig recipes ls|show|cp`."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError
from layersig.recipe.bundled import SCHEMA_LINE, find, names


@click.group("recipes")
def command() -> None:
    """List, show or copy the recipes that come with layersig.

    Example: layersig recipes cp quickstart mine.toml
    """


@command.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the recipes, with the subject of each."""
    rows = [{"recipe": name, "about": _about(find(name))} for name in names()]
    width = max((len(row["recipe"]) for row in rows), default=0)
    emit(
        {"recipes": rows},
        as_json=as_json,
        text="\n".join(f"{row['recipe']:{width}}  {row['about']}" for row in rows),
    )


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print recipe NAME."""
    click.echo(find(name).read_text(encoding="utf-8"), nl=False)


@command.command("cp")
@click.argument("name")
@click.argument("destination", type=click.Path(path_type=Path))
def cp(name: str, destination: Path) -> None:
    """Copy recipe NAME to DESTINATION, a file or a folder, with the plugin files and tasks in its folder.

    An existing file is not overwritten.
    """
    source = find(name)
    target = destination / source.name if destination.is_dir() else destination
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}")
    copies = {source: target, **{source.parent / file: target.parent / file for file in _files_beside(source)}}
    if taken := [copy for copy in copies.values() if copy.exists()]:
        raise UserError(f"{taken[0]} exists already; give another name or folder")
    for file, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    target.write_text(SCHEMA_LINE + source.read_text(encoding="utf-8"), encoding="utf-8")
    click.echo(str(target))


def _files_beside(recipe: Path) -> Iterator[Path]:
    """The files in the folder of a recipe that it names: plugins, rows, and tasks with the rows that they name."""
    found = dict.fromkeys(_names(tomllib.loads(recipe.read_text(encoding="utf-8"))))
    for name in found:
        path = Path(name)
        if not path.is_absolute() and ".." not in path.parts and (recipe.parent / path).is_file():
            yield path
            if path.suffix == ".yaml":
                yield from (path.parent / file for file in _rows_of(recipe.parent / path))


def _rows_of(task: Path) -> Iterator[str]:
    """The files of rows that a shipped task names, by split."""
    import yaml  # type: ignore[import-untyped]

    options = yaml.safe_load(task.read_text(encoding="utf-8")).get("dataset_kwargs", {})
    yield from options.get("data_files", {}).values()


def _names(value: Any) -> Iterator[str]:
    """All values of a recipe that may be names of files."""
    if isinstance(value, str) and value.startswith(("file:", "./")):
        yield value.removeprefix("file:")
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _names(each)


def _about(path: Path) -> str:
    """The first line of the head of a recipe."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return str(values.get("description", values["name"]))
