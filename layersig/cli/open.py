"""`layersig open RUN`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("open")
@run_name
@runs
@as_json
def command(run: str, runs: Path, as_json: bool) -> None:
    """Open the report of RUN in the browser, and print its path.

    Example: layersig open quickstart
    """
    from layersig.errors import UserError
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    page = folder.path / "report.html"
    if not page.is_file():
        raise UserError(f"{folder.name} is {folder.status()} and has no report yet; run its recipe to the end")
    opened = webbrowser.open(page.resolve().as_uri())
    if not opened:
        click.echo("warning: no browser can be started here; copy the file, or see `layersig show`", err=True)
    emit({"report": str(page), "opened": opened}, as_json=as_json, text=str(page))
