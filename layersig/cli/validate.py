"""`layersig validate RECIPE... [KEY.SUB=VALUE]...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from layersig.cli.main import emit
from layersig.cli.options import RecipePath, as_json, recipe_or_override
from layersig.errors import UserError

if TYPE_CHECKING:
    from layersig.recipe.load import LoadedRecipe


class _RecipeOrOverride(click.ParamType["Path | str"]):
    """A recipe, or `KEY.SUB=VALUE` as a string."""

    name = "recipe"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """As `recipe_or_override`."""
        return recipe_or_override(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """As `RecipePath`."""
        return RecipePath().shell_complete(ctx, param, incomplete)


@click.command("validate")
@click.argument("given", nargs=-1, required=True, type=_RecipeOrOverride(), metavar="RECIPE... [KEY.SUB=VALUE]...")
@as_json
def command(given: tuple[Path | str, ...], as_json: bool) -> int:
    """Check RECIPES and report every fault at once: file, line, key, the value given, and what is allowed.

    Overrides apply to all recipes.

    Example: layersig validate mine.toml train.rank=8

    Local files and folders that are missing are faults. Data sets in local files of at most 32 MiB are read: invalid
    rows and too few of them are faults, and unused fields are listed. So is a chat template that fails on them.
    """
    from layersig.engine.input_check import check_inputs
    from layersig.recipe.load import load_all

    recipes = [each for each in given if isinstance(each, Path)]
    overrides = [each for each in given if isinstance(each, str)]
    if not recipes:
        raise UserError(f'"{overrides[0]}" overrides a key of a recipe; name the recipe before it')
    faults: dict[str, str] = {}
    notes: dict[str, list[str]] = {}
    for path in recipes:
        try:
            found: dict[str, None] = {}  # in order, and once where several models give the same
            for loaded in load_all(path, overrides):
                _check_tasks(loaded)
                found |= dict.fromkeys(f"{loaded.where('judge')}: {skipped}" for skipped in loaded.skipped)
                found |= dict.fromkeys(check_inputs(loaded))
            notes[str(path)] = list(found)
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
