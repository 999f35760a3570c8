"""`layersig plugins`."""

from __future__ import annotations

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json


@click.command("plugins")
@as_json
def command(as_json: bool) -> None:
    """List scorers, policies and sources, and where they come from.

    Example: layersig plugins --json
    """
    from layersig.plugin.manager import installed

    known = installed()
    rows = [{"kind": each.kind, "name": each.name, "origin": each.origin.label} for each in known]
    lines = [f"{row['kind']:8}{row['name']:20}{row['origin']}" for row in rows]
    emit({"components": rows, "problems": list(known.problems)}, as_json=as_json, text="\n".join(lines))
