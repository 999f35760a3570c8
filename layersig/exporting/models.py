"""Models that a verb needs outside of a run, and the model of a run that is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from layersig.errors import UserError

if TYPE_CHECKING:
    from layersig.exporting.base import Base
    from layersig.sources.source import Source
    from layersig.store.runfolder import RunFolder


def find_model(spec: str, *, offline: bool) -> Source:
    """The model of a spec such as `hub:ID`, fetched if necessary; paths start from the working directory.

    Raises:
        UserError: There is no such model, or it cannot be used.
        MachineError: It cannot be reached.
    """
    from layersig.plugin.manager import installed
    from layersig.sources.resolve import loaders_of, resolve
    from layersig.sources.source import Request
    from layersig.store.cache import cache_root

    loaders = loaders_of(installed(), spec)
    return resolve(spec, "model", Request(Path.cwd(), cache_root(), offline=offline), loaders=loaders)


def model_of(run: RunFolder, *, offline: bool) -> Path:
    """The folder of the model of a run, fetched again if necessary.

    Raises:
        UserError: It has changed since the run.
    """
    record = run.model()
    source = find_model(record["resolved"], offline=offline)
    if source.digest != record["digest"]:
        raise UserError(
            f"{source.resolved} has changed since the run, so its adapters no longer fit; run the recipe again"
        )
    return source.path


def loadable_base(run: RunFolder, *, offline: bool) -> Base:
    """The model of a run, as other tools load it: by its repository, or from a folder of this machine."""
    from dataclasses import replace

    from layersig.exporting.base import base_of

    base = base_of(run)
    return base if base.revision else replace(base, name=str(model_of(run, offline=offline).resolve()))
