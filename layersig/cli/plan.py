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
@click.option(
    "--pilot", metavar="RUN", help="Finished run to take variances from; default: the newest one of the same model."
)
@click.option(
    "--assume",
    "assumed",
    multiple=True,
    metavar="NAME=VALUE",
    help="Assume an unknown value: rows.DATA, items.TASK, step.seconds, gain, or a standard deviation such as "
    "loss.item (docs/planning.md).",
)
@click.option("--measure", is_flag=True, help="Measure the speed of this machine again.")
@click.option("--cards", is_flag=True, help="Show how every stage fits on GPUs of 24, 40, 80 and 141 GB.")
@click.option(
    "--config",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the config.json of a model that is not on this machine: memory needs no weights.",
)
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    runs: Path,
    smoke: bool,
    as_json: bool,
    pilot: str | None,
    assumed: tuple[str, ...],
    measure: bool,
    cards: bool,
    config: Path | None,
) -> None:
    """Show what RECIPE will cost on this machine, stage by stage, and what its declared comparisons can detect.

    Nothing is fetched, and nothing is trained except a few steps that measure the machine once. Example:

    layersig plan recipes/paper/table-02.toml --assume rows.lima=1030 --assume step.seconds=6.7
    """
    from layersig.engine.input_check import recipe_notes
    from layersig.planning import Options, plan
    from layersig.planning.on_record import put_costs_on_record, put_on_record
    from layersig.planning.text import as_json as json_of
    from layersig.planning.text import as_text
    from layersig.recipe.load import load_all

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    found = {}
    for loaded in load_all(recipe, overrides, smoke=smoke):
        for note in (*loaded.skipped, *recipe_notes(loaded)):
            warn(note)
        found[loaded.of_model] = planned = plan(loaded, Options(runs, pilot, assumed, measure, cards, config), warn)
        put_costs_on_record(planned.facts.known, planned.costs, planned.speed_origin)
        if planned.precision and not put_on_record(planned.facts.known, planned.precision):
            click.echo(
                "note: outcomes of this study are already measured, so this plan does not count as made beforehand",
                err=True,
            )
    values = {name: json_of(each) for name, each in found.items()} if as_json else {}
    texts = [as_text(each) if name is None else f"{name}\n{as_text(each)}" for name, each in found.items()]
    emit(values.get(None, {"models": values}), as_json=as_json, text="\n\n".join(texts))
