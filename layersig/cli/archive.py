"""`layersig archive RUN`."""

from __future__ import annotations

from pathlib import Path

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, run_name, runs


@click.command("archive")
@run_name
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; default: NAME-ID.tar.gz here.")
@click.option("--no-data", is_flag=True, help="Leave out local data files; the README says which to supply.")
@runs
@as_json
def command(run: str, output: Path | None, no_data: bool, runs: Path, as_json: bool) -> None:
    """Pack RUN for a reviewer into one file: recipe, plugins, items, scores, report, and how to repeat it.

    Weights are left out. The same run always gives the same bytes.

    Example: layersig archive quickstart -o quickstart.tar.gz
    """
    from layersig.store.archive import archive
    from layersig.store.runfolder import find_run

    folder = find_run(runs, run)
    manifest = folder.manifest()
    target = output or Path(f"{manifest['name']}-{manifest['id']}.tar.gz")
    names = archive(folder, target, data=not no_data)
    emit({"archive": str(target), "files": names}, as_json=as_json, text=f"{target}: {len(names)} files")
