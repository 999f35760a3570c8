"""`layersig validate RECIPE...`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json
from layersig.errors import UserError


@click.command("validate")
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))
@as_json
def command(recipes: tuple[Path, ...], as_json: bool) -> int:
    """Check RECIPES and report every fault at once: file, line, key, what was got, what is allowed."""
    from layersig.evaluating.definitions import check
    from layersig.recipe.load import load

    faults: dict[str, str] = {}
    for path in recipes:
        try:
            loaded = load(path, ())
            for number, task in enumerate(loaded.recipe.evaluate.tasks):
                try:
                    check(task.source, loaded.base_dir, fetched=task.data is None)
                except UserError as error:
                    raise UserError(f"{loaded.where('evaluate', 'tasks', number)}: {error}") from error
        except UserError as error:
            faults[str(path)] = str(error)
    good = [str(path) for path in recipes if str(path) not in faults]
    for message in faults.values():
        click.echo(f"error: {message}", err=True)
    emit(
        {"valid": good, "faults": faults},
        as_json=as_json,
        text="\n".join(f"{path}: valid" for path in good),
    )
    return 2 if faults else 0
