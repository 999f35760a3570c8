"""Models that a verb needs outside of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layersig.sources.source import Source


def find_model(spec: str, *, offline: bool) -> Source:
    """The model of a spec such as `hub:ID`, fetched if necessary; paths start from the working directory.

    Raises:
        UserError: There is no such model, or it cannot be used.
        MachineError: It cannot be reached.
    """
    from layersig.plugin.manager import installed
    from layersig.sources.resolve import LOADERS, resolve
    from layersig.sources.source import Request
    from layersig.store.cache import cache_root

    known = installed()
    loaders = {**LOADERS, **{name: known.get("source", name).create() for name in known.names("source")}}
    return resolve(spec, "model", Request(Path.cwd(), cache_root(), offline=offline), loaders=loaders)
