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

    Example: layersig report quickstart
    """
    from layersig.recipe.load import stored
    from layersig.store.runfolder import find_run
    from layersig.topics.analyse import analyse
    from layersig.topics.render import render

    folder = find_run(runs, run)
    status = folder.status()
    folder.verify()
    with folder.lock():
        analyse(folder.path, stored(folder.path / "resolved.toml"), status)
        render(folder.path)
    page = folder.path / "report.html"
    emit({"run": str(folder.path), "report": str(page)}, as_json=as_json, text=str(page))
