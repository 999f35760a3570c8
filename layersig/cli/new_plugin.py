"""`layersig new-plugin NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from layersig import __version__
from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.plugin.components import PLUGIN_KINDS

if TYPE_CHECKING:
    from layersig.plugin.components import PluginKind


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(PLUGIN_KINDS), default="scorer", show_default=True, help="What the plugin offers."
)
@click.option(
    "-o",
    "--output",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder in which the package folder is made. [default: here]",
)
@as_json
def command(name: str, kind: str, parent: Path, as_json: bool) -> None:
    """Write a package for a plugin called NAME: code that works, tests that pass, a README, CI and a recipe.

    Replace the example in it by your own code. docs/plugins.md goes through the steps.

    \b
    Examples:
      layersig new-plugin weight-size
      layersig new-plugin spread --kind policy -o ~/plugins
    """  # noqa: D301 (click reads the \b)
    from layersig.errors import UserError
    from layersig.plugin.components import BUILT_IN_SCHEMES
    from layersig.plugin.manager import installed
    from layersig.scaffold.package import write_package

    short = name.removeprefix("layersig-")
    taken = [each for each in installed() if (each.kind, each.name) == (kind, short)]
    if taken:
        raise UserError(f"{taken[0].label} has this name already; take another")
    if kind == "source" and short in BUILT_IN_SCHEMES:
        raise UserError(f"the scheme {short!r} is built in; take another name")
    folder = write_package(name, cast("PluginKind", kind), parent, layersig=__version__)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    steps = f"{folder}: next, `cd {folder}`, `pip install --editable '.[test]'`, `pytest`"
    emit({"package": str(folder), "files": files}, as_json=as_json, text=steps)
