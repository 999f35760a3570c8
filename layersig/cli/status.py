"""`layersig status RUN`."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs

if TYPE_CHECKING:
    from layersig.store.runfolder import ManifestForm, RunFolder

_EVERY = 2.0
"""Seconds between two looks."""


@click.command("status")
@run_name
@runs
@as_json
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until the run ends.")
def command(run: str, runs: Path, as_json: bool, watch: bool) -> None:
    """Show the progress of RUN: a path, NAME/ID, the start of an ID, or a NAME (its newest run).

    \b
    Examples:
      layersig status quickstart
      layersig status quickstart --watch
    """  # noqa: D301 (click reads the \b)
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    state = folder.state()
    if watch and not as_json:
        state = _watched(folder, state)
    value = {"run": str(folder.path), "status": state["status"], "stages": state["stages"]}
    emit(value, as_json=as_json, text=_text(folder, state))


def _watched(folder: RunFolder, state: ManifestForm) -> ManifestForm:
    """The state of a run once it is no longer running; until then it is shown when it changes."""
    shown = None
    while state["status"] == "running":
        if (text := _text(folder, state)) != shown:
            click.clear()  # does nothing where stdout is no terminal
            click.echo(text)
            shown = text
        time.sleep(_EVERY)
        state = folder.state()
    click.clear()
    return state


def _text(folder: RunFolder, state: ManifestForm) -> str:
    counts = Counter(stage["status"] for stage in state["stages"])
    lines = [f"{folder.name}: {state['status']} ({', '.join(f'{n} {status}' for status, n in counts.items())})"]
    for stage in state["stages"]:
        seconds = f"{stage['seconds']:8.1f} s" if "seconds" in stage else " " * 10
        cached = " cached" if stage.get("cached") else ""
        lines.append(f"  {stage['status']:11}{seconds}  {stage['id']}{cached}")
        if "error" in stage:
            lines.append(f"      {stage['error']}")
    return "\n".join(lines)
