"""`layersig plan RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, overrides, recipe, runs, smoke


@click.command("plan")
@recipe
@overrides
@runs
@smoke
@as_json
@click.option("--pilot", metavar="RUN", help="Finished run to take variances from; else the newest of the same model.")
@click.option(
    "--assume",
    "assumed",
    multiple=True,
    metavar="NAME=VALUE",
    help="State what is not known yet: rows.DATA, items.TASK, step.seconds, gain, or a standard deviation such as "
    "loss.item (docs/planning.md).",
)
@click.option("--measure", is_flag=True, help="Time this machine even where its speed is kept.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    runs: Path,
    smoke: bool,
    as_json: bool,
    pilot: str | None,
    assumed: tuple[str, ...],
    measure: bool,
) -> None:
    """Show what RECIPE will cost on this machine, stage by stage, and what its declared comparisons can find.

    Nothing is fetched or trained, but for a few steps that time the machine once. Example:

    layersig plan recipes/paper/table-02.toml --assume rows.lima=1030 --assume step.seconds=6.7
    """
    from layersig.planning import Options, plan
    from layersig.planning.text import as_json as json_of
    from layersig.planning.text import as_text
    from layersig.recipe.load import load

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    loaded = load(recipe, overrides, smoke=smoke)
    found = plan(loaded, Options(runs, pilot, assumed, measure), warn)
    emit(json_of(found) if as_json else {}, as_json=as_json, text="" if as_json else as_text(found))
