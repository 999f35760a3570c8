"""`layersig validate RECIPE...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.options import RecipePath, as_json
from layersig.errors import UserError

if TYPE_CHECKING:
    from layersig.recipe.load import LoadedRecipe


@click.command("validate")
@click.argument("recipes", nargs=-1, required=True, type=RecipePath())
@as_json
def command(recipes: tuple[Path, ...], as_json: bool) -> int:
    """Check RECIPES and report every fault at once: file, line, key, the value given, and what is allowed.

    Example: layersig validate mine.toml

    Local files and folders that are missing are faults. Data sets in local files of at most 32 MiB are read: invalid
    rows and too few of them are faults, and unused fields are listed. So is a chat template that fails on them.
    """
    from layersig.engine.input_check import check_inputs
    from layersig.recipe.load import load_all

    faults: dict[str, str] = {}
    notes: dict[str, list[str]] = {}
    for path in recipes:
        try:
            loaded = load_all(path)[0]
            _check_tasks(loaded)
            notes[str(path)] = [
                *(f"{loaded.where('judge')}: {skipped}" for skipped in loaded.skipped),
                *check_inputs(loaded),
            ]
        except UserError as error:
            faults[str(path)] = str(error)
    good = [str(path) for path in recipes if str(path) not in faults]
    for message in faults.values():
        click.echo(f"error: {message}", err=True)
    for valid in good:
        for note in notes[valid]:
            click.echo(f"warning: {note}", err=True)
    emit(
        {"valid": good, "faults": faults, "notes": {valid: notes[valid] for valid in good if notes[valid]}},
        as_json=as_json,
        text="\n".join(f"{path}: valid" for path in good),
    )
    return 2 if faults else 0


def _check_tasks(loaded: LoadedRecipe) -> None:
    """Refuse tasks that cannot be evaluated, or whose floor is requested and cannot be measured."""
    asked = any("tasks" in choice.params for choice in loaded.recipe.scorers.values())
    if not asked and not loaded.recipe.evaluate.tasks:
        return
    from layersig.engine.task_check import check_tasks

    check_tasks(loaded)
