"""`layersig doctor`."""

from __future__ import annotations

import shutil

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json

_LEAST_FREE = 5
"""GiB of the disk that a study of a small model needs."""


@click.command("doctor")
@as_json
def command(as_json: bool) -> None:
    """Check this machine: versions, device, memory, disk, cache, hub, confined programs, plugins.

    The last line says whether it is ready.

    Example: layersig doctor --json
    """
    from huggingface_hub import get_token

    from layersig.models.devices import pick_device, pick_dtype
    from layersig.plugin.manager import installed
    from layersig.sandbox.run import refusal
    from layersig.store.cache import cache_root
    from layersig.store.provenance import machine, versions

    device = pick_device()
    dtype, reason = pick_dtype("auto", device)
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    about = {"versions": versions(), "machine": machine()}
    problems = list(installed().problems)
    free = round(shutil.disk_usage(root).free / 2**30, 1)
    if free < _LEAST_FREE:
        problems.append(f"less than {_LEAST_FREE} GiB are free for the cache; LAYERSIG_CACHE sets another folder")
    found = {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "dtype_reason": reason,
        "cache": str(root),
        "free_gib": free,
        "hub_login": get_token() is not None,
        "generated_code": refusal() or "can run confined",
        "plugin_problems": list(installed().problems),
        "verdict": "; ".join(problems) or "ready",
    }
    lines = [f"{name:18}{value}" for part in (*about.values(), found) for name, value in part.items()]
    emit({**about, **found}, as_json=as_json, text="\n".join(lines))
