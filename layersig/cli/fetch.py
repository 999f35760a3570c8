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
    """Download everything RECIPE needs, fallbacks included; afterwards `--offline` works.

    Example: layersig fetch quickstart
    """
    from layersig.engine.sources import fetch_all
    from layersig.recipe.load import load_all

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    rows = [row for loaded in load_all(recipe, overrides) for row in fetch_all(loaded, warn)]
    lines = [f"{row['spec']}  ->  {row['path'] or row['error']}" for row in rows]
    emit({"sources": rows}, as_json=as_json, text="\n".join(lines))
