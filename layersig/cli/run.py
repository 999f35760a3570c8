"""`layersig run RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, offline, overrides, recipe, runs, smoke


@click.command("run")
@recipe
@overrides
@runs
@as_json
@offline
@smoke
@click.option("--strict", is_flag=True, help="Refuse fallbacks: every source must be the one the recipe names.")
@click.option("--no-cache", is_flag=True, help="Run every stage anew, whatever the cache holds.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    runs: Path,
    as_json: bool,
    offline: bool,
    smoke: bool,
    strict: bool,
    no_cache: bool,
) -> int:
    """Run RECIPE, with KEY.SUB=VALUE overrides; what is done already is not done again.

    Example: layersig run recipes/quickstart.toml train.rank=16 'arms.0.select.fraction=0.5'
    """
    from rich.console import Console

    from layersig.engine.study import Options, run
    from layersig.recipe.load import load

    console = Console(stderr=True)
    loaded = load(recipe, overrides, smoke=smoke)
    outcome = run(loaded, Options(runs, offline=offline, strict=strict, reuse=not no_cache), console)
    if outcome.failures:
        several = [f"{len(outcome.failures)} failures"] if len(outcome.failures) > 1 else []
        click.echo("error: " + "\n  ".join([*several, *outcome.failures]), err=True)
    path = outcome.folder.path
    emit(
        {"run": str(path), "status": outcome.status},
        as_json=as_json,
        text=f"{outcome.status}: {path / 'report.html'}",
    )
    return 1 if outcome.status == "failed" else 0
