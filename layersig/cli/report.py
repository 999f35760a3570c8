"""`layersig report RUN`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("report")
@run_name
@runs
@as_json
def command(run: str, runs: Path, as_json: bool) -> None:
    """Analyse RUN again and write its report, from the files of the run folder alone.

    A report of a run that was interrupted counts as a look at its results, as one at its end does.

    Example: layersig report quickstart
    """
    from layersig.engine.report import write_report
    from layersig.recipe.load import stored
    from layersig.store.cache import cache_root
    from layersig.store.looks import Looks
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    status = folder.status()
    folder.verify()
    study, recipe = folder.manifest().get("study"), stored(folder.path / "resolved.toml")
    with folder.lock():
        looked = write_report(folder, recipe, status)
    if looked and study is not None:  # runs of earlier versions do not tell their study
        try:
            Looks(cache_root(), study).put(recipe.seeds)
        except OSError as error:  # the report is written all the same
            click.echo(f"note: this look at the results could not be put on record: {error}", err=True)
    page = folder.path / "report.html"
    emit({"run": str(folder.path), "report": str(page)}, as_json=as_json, text=str(page))
