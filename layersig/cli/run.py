"""`layersig run RECIPE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, offline, overrides, recipe, runs, smoke

if TYPE_CHECKING:
    from layersig.engine.study import Outcome
    from layersig.recipe.load import LoadedRecipe


@click.command("run")
@recipe
@overrides
@runs
@as_json
@offline
@smoke
@click.option("--strict", is_flag=True, help="Refuse fallbacks: use only the sources that the recipe names first.")
@click.option("--no-cache", is_flag=True, help="Run every stage again, ignoring the cache.")
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
    """Run RECIPE, with KEY.SUB=VALUE overrides; finished stages are not run again.

    A recipe with [[models]] gives one run per model, and a report on how far their rankings agree.

    RECIPE is a file, or the name of a bundled recipe (`layersig recipes ls`).

    Example: layersig run quickstart train.rank=8
    """
    from rich.console import Console

    from layersig.engine.study import Options, run
    from layersig.recipe.load import load_all

    console = Console(stderr=True)
    options = Options(runs, offline=offline, strict=strict, reuse=not no_cache)
    every = load_all(recipe, overrides, smoke=smoke)
    outcomes = [run(loaded, options, console) for loaded in every]
    for outcome in outcomes:
        if outcome.failures:
            several = [f"{len(outcome.failures)} failures"] if len(outcome.failures) > 1 else []
            click.echo("error: " + "\n  ".join([*several, *outcome.failures]), err=True)
    told = [{"run": str(outcome.folder.path), "status": outcome.status} for outcome in outcomes]
    lines = [] if as_json else [_answer(outcome) for outcome in outcomes]
    failed = any(outcome.status == "failed" for outcome in outcomes)
    if len(every) == 1:
        emit(told[0], as_json=as_json, text="\n".join(lines))
        return int(failed)
    study = None if failed else _across(every, [outcome.folder.path for outcome in outcomes], runs)
    emit(
        {"runs": told, "report": None if study is None else str(study)},
        as_json=as_json,
        text="\n".join([*lines, *([] if study is None else [f"all models: {study}"])]),
    )
    return int(failed)


def _answer(outcome: Outcome) -> str:
    """What a run found, and where its report is."""
    from layersig.topics.brief import brief
    from layersig.topics.render import material_of

    found = brief(material_of(outcome.folder.path))
    page = f"{outcome.status}: {outcome.folder.path / 'report.html'}"
    return f"\n{found}\n\n{page}" if found else page


def _across(every: Sequence[LoadedRecipe], folders: Sequence[Path], runs: Path) -> Path:
    """The report on all models; its path."""
    from layersig.topics.across_models.page import render_models
    from layersig.topics.across_models.rankings import RankedModel

    models = [
        RankedModel(str(loaded.of_model), folder, loaded.recipe) for loaded, folder in zip(every, folders, strict=True)
    ]
    return render_models(every[0].recipe.name.removesuffix(f"-{models[0].name}"), models, runs)
