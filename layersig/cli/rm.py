"""`layersig rm RUN`."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("rm")
@run_name
@runs
@as_json
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(run: str, runs: Path, as_json: bool, yes: bool) -> None:
    """Delete the folder of RUN, after asking. Finished stages stay in the cache, so that running it again is quick.

    Example: layersig rm quickstart
    """
    from layersig.errors import UserError
    from layersig.store.files import files_below
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(
                f"{folder.path} was not deleted, because there is no terminal to ask on; use --yes to delete it "
                "without asking"
            )
        count = len(files_below(folder.path))
        if not click.confirm(f"delete {folder.path} ({count} files)?", err=True):
            emit({"deleted": None}, as_json=as_json, text="nothing was deleted")
            return
    with folder.lock():  # a run at work is not deleted
        shutil.rmtree(folder.path)
    with contextlib.suppress(OSError):  # other runs of the same name may be left
        folder.path.parent.rmdir()
    emit({"deleted": str(folder.path)}, as_json=as_json, text=f"deleted {folder.path}")
