"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from layersig.cli.completion import Override
from layersig.errors import UserError


class RecipePath(click.ParamType[Path]):
    """A recipe file, or the name of a bundled recipe; a file of that name comes first."""

    name = "recipe"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The file.

        Raises:
            UserError: What looks like a name is none of a bundled recipe.
        """
        from layersig.recipe.bundled import recipe_path

        return value if isinstance(value, Path) else recipe_path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of bundled recipes, and files."""
        from layersig.recipe.bundled import names

        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")]


def recipe_or_override(value: str) -> Path | str:
    """A recipe as `RecipePath` takes it, or `KEY.SUB=VALUE` as typed: what has an equals sign and is no file.

    Raises:
        UserError: It is neither.
    """
    from layersig.recipe.bundled import is_file

    if "=" in value and not is_file(value):
        return value
    try:
        return RecipePath().convert(value, None, None)
    except UserError as error:
        raise UserError(f"{error}; to override a key, write `key.sub=value`") from None


class RunName(click.ParamType[str]):
    """A run: a path, `NAME/ID`, a NAME, or the start of an ID."""

    name = "run"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What was typed."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of the runs, and of each with its id."""
        from layersig.store.runfolder import all_runs

        every = all_runs(ctx.params.get("runs") or Path("runs"))
        known = dict.fromkeys([*(run.path.parent.name for run in every), *(run.name for run in every)])
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


recipe = click.argument("recipe", type=RecipePath())
overrides = click.argument("overrides", nargs=-1, type=Override(), metavar="[KEY.SUB=VALUE]...")
run_name = click.argument("run", metavar="RUN", type=RunName())
runs = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of stdout.")
offline = click.option("--offline", is_flag=True, help="Use only what is on this machine; no network.")
smoke = click.option(
    "--smoke", is_flag=True, help="Run every stage with 2 steps and a few items, to check that it works."
)
