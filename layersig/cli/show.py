"""`layersig show RUN`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("show")
@run_name
@runs
@as_json
def command(run: str, runs: Path, as_json: bool) -> None:
    """Show the answer of RUN: its arms, the share of the gain that each keeps, and the verdicts.

    Example: layersig show quickstart
    """
    from layersig.store.runfolder import find_run
    from layersig.topics.brief import brief
    from layersig.topics.render import material_of

    folder = find_run(runs, run)
    status = folder.status()
    answer = brief(material_of(folder.path))
    page = folder.path / "report.html"
    emit(
        {"run": str(folder.path), "status": status, "answer": answer, "report": str(page)},
        as_json=as_json,
        text="\n\n".join(part for part in (answer, f"{status}: {page}") if part),
    )
