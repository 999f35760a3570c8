"""`layersig fetch RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, overrides, recipe


@click.command("fetch")
@recipe
@overrides
@as_json
def command(recipe: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Bring everything RECIPE needs onto this machine, fallbacks included; afterwards `--offline` works."""
    from layersig.engine.sources import fetch_all
    from layersig.recipe.load import load

    rows = fetch_all(load(recipe, overrides), lambda message: click.echo(f"warning: {message}", err=True))
    lines = [f"{row['spec']}  ->  {row['path'] or row['error']}" for row in rows]
    emit({"sources": rows}, as_json=as_json, text="\n".join(lines))
