"""`layersig runs`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, runs
from layersig.errors import UserError


@click.command("runs")
@runs
@as_json
def command(runs: Path, as_json: bool) -> None:
    """List the runs, oldest first.

    Example: layersig runs --runs /shared/runs
    """
    from layersig.store.runfolder import all_runs

    found = []
    for folder in all_runs(runs):
        try:
            manifest, status = folder.manifest(), folder.status()
        except UserError as error:
            click.echo(f"warning: {error}", err=True)
            continue
        found.append({"run": folder.name, "status": status, "started": manifest["started"]})
    found.sort(key=lambda row: row["started"])
    lines = [f"{row['started']}  {row['status']:22}{row['run']}" for row in found]
    emit({"runs": found}, as_json=as_json, text="\n".join(lines) or f"no runs in {runs}")
