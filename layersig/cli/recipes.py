"""`layersig recipes ls|show|cp`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError


def shipped() -> Path:
    """Folder of the recipes that come with layersig: in an installation beside the modules, else in the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_recipes"
    return installed if installed.exists() else package.parent / "recipes"


def find(name: str) -> Path:
    """The shipped recipe of a name such as `quickstart` or `paper/table-05`.

    Raises:
        UserError: There is none.
    """
    path = shipped() / f"{name.removesuffix('.toml')}.toml"
    if not path.is_file():
        raise UserError(f"no recipe {name!r}; `layersig recipes ls` lists them")
    return path


@click.group("recipes")
def command() -> None:
    """List, show or copy the recipes that come with layersig."""


@command.command("ls")
@as_json
def ls(as_json: bool) -> None:
    """List the recipes, with the first line of each."""
    rows = [
        {"recipe": str(path.relative_to(shipped()).with_suffix("")), "about": _first_line(path)}
        for path in sorted(shipped().rglob("*.toml"))
    ]
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
    """Copy recipe NAME to DESTINATION, a file or a folder; an existing file is not overwritten."""
    source = find(name)
    target = destination / source.name if destination.is_dir() else destination
    if target.exists():
        raise UserError(f"{target} exists already; give another name")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}")
    shutil.copyfile(source, target)
    click.echo(str(target))


def _first_line(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip()
