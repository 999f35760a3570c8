"""`layersig status RUN`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("status")
@run_name
@runs
@as_json
def command(run: str, runs: Path, as_json: bool) -> None:
    """Show the progress of RUN: a path, NAME/ID, the start of an ID, or a NAME (its newest run).

    Example: layersig status quickstart
    """
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    manifest = folder.state()
    counts = Counter(stage["status"] for stage in manifest["stages"])
    lines = [f"{folder.name}: {manifest['status']} ({', '.join(f'{n} {status}' for status, n in counts.items())})"]
    for stage in manifest["stages"]:
        seconds = f"{stage['seconds']:8.1f} s" if "seconds" in stage else " " * 10
        cached = " cached" if stage.get("cached") else ""
        lines.append(f"  {stage['status']:11}{seconds}  {stage['id']}{cached}")
        if "error" in stage:
            lines.append(f"      {stage['error']}")
    emit(
        {"run": str(folder.path), "status": manifest["status"], "stages": manifest["stages"]},
        as_json=as_json,
        text="\n".join(lines),
    )
