"""`layersig run RECIPE...`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.completion import Override, complete_tracker
from layersig.cli.main import emit
from layersig.cli.options import as_json, offline, recipe, recipe_or_override, runs, smoke
from layersig.distributed.launch import Launch
from layersig.distributed.start import driving, follow
from layersig.errors import UserError

if TYPE_CHECKING:
    from layersig.engine.local import Local
    from layersig.engine.on_ray import OnRay
    from layersig.engine.study import Outcome
    from layersig.recipe.load import LoadedRecipe


class EngineName(click.ParamType["Local | OnRay"]):
    """`local:N` or `ray[:ADDRESS]`."""

    name = "engine"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Local | OnRay:
        """The engine."""
        found = re.fullmatch(r"local:(?P<count>[1-9][0-9]{0,3})|ray(?::(?P<address>.+))?", str(value))
        if found is None:
            wanted = "write local:N, such as local:4 for four worker processes, ray for the Ray cluster of this machine"
            self.fail(f"{wanted}, or ray:HOST:PORT, got {value!r}", param, ctx)
        if found["count"] is not None:
            from layersig.engine.local import Local

            return Local(int(found["count"]))
        from layersig.engine.on_ray import OnRay
        from layersig.planning.needs import main_memory

        return OnRay(found["address"], main_memory)


@click.command("run")
@recipe
@click.argument("more", nargs=-1, type=Override(), metavar="[RECIPE]... [KEY.SUB=VALUE]...")
@runs
@as_json
@offline
@smoke
@click.option("--strict", is_flag=True, help="Refuse fallbacks: use only the sources that the recipe names first.")
@click.option(
    "--track",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_tracker,
    help="Inform this tracker of the run (docs/tracking.md).",
)
@click.option("--no-cache", is_flag=True, help="Run every stage again, ignoring the cache.")
@click.option(
    "--engine",
    type=EngineName(),
    metavar="local:N|ray[:ADDRESS]",
    help="Run stages in N processes, each with a GPU of its own or with its share of the CPU's threads; or on a Ray "
    "cluster (docs/clusters.md).",
)
@click.option(
    "--stop-after",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Stop when N stages of a kind fail in a row with the same error.",
)
@click.option("--shard", is_flag=True, help="Under torchrun: split the model among the processes.")
def command(
    recipe: Path,
    more: tuple[str, ...],
    runs: Path,
    as_json: bool,
    offline: bool,
    smoke: bool,
    strict: bool,
    track: tuple[str, ...],
    no_cache: bool,
    engine: Local | OnRay | None,
    stop_after: int,
    shard: bool,
) -> int:
    """Run RECIPE, with KEY.SUB=VALUE overrides; finished stages are not run again.

    Several recipes share what they have in common; overrides apply to all of them. A recipe with [[models]] gives one
    run per model, and a report on how far their rankings agree.

    RECIPE is a file, or the name of a bundled recipe (`layersig recipes ls`).

    Example: layersig run quickstart train.rank=8

    Example: layersig run a.toml b.toml --engine local:2

    Example: torchrun --no-python --nproc-per-node 8 layersig run recipe.toml
    """
    launch = Launch.of(os.environ)
    if launch is not None and launch.rank > 0:
        follow(launch)
        return 0
    if shard and launch is None:
        raise UserError(
            "--shard splits a model among several processes, and this is a single one; start them with `torchrun "
            "--no-python --nproc-per-node N layersig run RECIPE --shard`"
        )
    if engine is not None and launch is not None:
        raise UserError(
            "--engine runs stages in processes that it starts itself, torchrun runs one stage in several; use one of "
            "the two"
        )
    from layersig.engine.in_process import run
    from layersig.engine.input_check import check_files
    from layersig.engine.progress import on_stderr
    from layersig.engine.recipes import run_together
    from layersig.engine.study import Options
    from layersig.planning.outlook import outlook
    from layersig.recipe.load import load_all

    console = on_stderr()
    given = [recipe_or_override(each) for each in more]
    recipes = [recipe, *(each for each in given if isinstance(each, Path))]
    overrides = [each for each in given if isinstance(each, str)]
    groups = [load_all(path, overrides, smoke=smoke) for path in recipes]
    every: dict[tuple[str, str], LoadedRecipe] = {}
    for loaded in (loaded for group in groups for loaded in group):
        same = every.setdefault((loaded.recipe.name, loaded.id), loaded)
        if same.base_dir != loaded.base_dir:  # relative sources are other files there
            raise UserError(
                f"{same.path} and {loaded.path} say the same in two folders, and would share a run folder; give one of "
                "them another `name`"
            )
    for loaded in every.values():
        check_files(loaded)  # of all before the first starts
    with driving(launch, sharded=shard) as driver:
        options = Options(
            runs,
            offline=offline,
            strict=strict,
            reuse=not no_cache,
            stop_after=stop_after,
            track=track,
            driver=driver,
        )
        if engine is None:
            outcomes = [run(loaded, options, console, outlook) for loaded in every.values()]
        else:
            outcomes = run_together(list(every.values()), options, engine, console)
    ended = dict(zip(every, outcomes, strict=True))
    studies = [
        path
        for group in groups
        if (path := _study(group, [ended[loaded.recipe.name, loaded.id] for loaded in group], runs)) is not None
    ]
    _tell(outcomes, studies, one=len(groups) == 1, as_json=as_json)
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _tell(outcomes: Sequence[Outcome], studies: Sequence[Path], *, one: bool, as_json: bool) -> None:
    for outcome in outcomes:
        if outcome.failures:
            several = [f"{len(outcome.failures)} failures"] if len(outcome.failures) > 1 else []
            click.echo("error: " + "\n  ".join([*several, *outcome.failures]), err=True)
    told = [{"run": str(outcome.folder.path), "status": outcome.status} for outcome in outcomes]
    lines = [] if as_json else [_answer(outcome) for outcome in outcomes]
    if len(outcomes) == 1:
        emit(told[0], as_json=as_json, text="\n".join(lines))
        return
    paths = [str(path) for path in studies]
    across = {"report": paths[0] if paths else None} if one else {"reports": paths}
    emit(
        {"runs": told, **across}, as_json=as_json, text="\n".join([*lines, *(f"all models: {path}" for path in paths)])
    )


def _study(every: Sequence[LoadedRecipe], outcomes: Sequence[Outcome], runs: Path) -> Path | None:
    """The report on all models of a recipe; its path, or None where there is one model or a run failed."""
    if len(every) == 1 or any(outcome.status == "failed" for outcome in outcomes):
        return None
    return _across(every, [outcome.folder.path for outcome in outcomes], runs)


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
