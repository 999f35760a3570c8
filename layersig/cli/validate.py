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
        found: dict[str, None] = {}  # in order, and once where several models give the same
        wrong: dict[str, None] = {}
        every: tuple[LoadedRecipe, ...] = ()
        try:
            every = load_all(path, overrides)
        except UserError as error:
            wrong[str(error)] = None
        for loaded in every:
            found |= dict.fromkeys(f"{loaded.where('judge')}: {skipped}" for skipped in loaded.skipped)
            for check in (_check_tasks, check_inputs):
                try:
                    found |= dict.fromkeys(check(loaded))
                except UserError as error:
                    wrong[str(error)] = None
        if wrong:
            faults[str(path)] = "\n".join(wrong)
        else:
            notes[str(path)] = list(found)
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


def _check_tasks(loaded: LoadedRecipe) -> tuple[str, ...]:
    """Refuse tasks that cannot be evaluated, or whose floor is requested and cannot be measured."""
    asked = any("tasks" in choice.params for choice in loaded.recipe.scorers.values())
    if asked or loaded.recipe.evaluate.tasks:
        from layersig.engine.task_check import check_tasks

        check_tasks(loaded)
    return ()
