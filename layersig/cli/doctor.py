"""`layersig doctor`."""

from __future__ import annotations

import shutil

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json


@click.command("doctor")
@as_json
def command(as_json: bool) -> None:
    """Check this machine: versions, device, memory, disk, cache, plugins.

    Example: layersig doctor --json
    """
    from layersig.models.devices import pick_device, pick_dtype
    from layersig.plugin.manager import installed
    from layersig.store.cache import cache_root
    from layersig.store.provenance import machine, versions

    device = pick_device()
    dtype, reason = pick_dtype("auto", device)
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    about = {"versions": versions(), "machine": machine()}
    found = {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "dtype_reason": reason,
        "cache": str(root),
        "free_gib": round(shutil.disk_usage(root).free / 2**30, 1),
        "plugin_problems": list(installed().problems),
    }
    lines = [f"{name:18}{value}" for part in (*about.values(), found) for name, value in part.items()]
    emit({**about, **found}, as_json=as_json, text="\n".join(lines))
