"""`layersig plan RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, overrides, recipe, smoke


@click.command("plan")
@recipe
@overrides
@smoke
@as_json
def command(recipe: Path, overrides: tuple[str, ...], smoke: bool, as_json: bool) -> None:
    """Show the stages that RECIPE would run, in order, and what each of them reads."""
    from layersig.pipeline import stages
    from layersig.recipe.load import load_all

    rows = [
        {
            "id": stage.id if loaded.of_model is None else f"{loaded.of_model}: {stage.id}",
            "kind": stage.kind,
            "inputs": sorted({each.node for each in stage.inputs.values()}),
        }
        for loaded in load_all(recipe, overrides, smoke=smoke)
        for stage in stages(loaded.recipe, loaded.components).stages
    ]
    lines = [f"{row['id']:48}  <- {', '.join(row['inputs'])}" for row in rows]
    emit({"stages": rows}, as_json=as_json, text="\n".join([*lines, f"{len(rows)} stages"]))
