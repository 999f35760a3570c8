"""Shows runs of layersig in trackio."""

from __future__ import annotations

from collections.abc import Mapping

from layersig import hookimpl

LAYERSIG_API = ">=1.0,<2"


@hookimpl
def layersig_trackers() -> Mapping[str, str]:
    """The tracker `trackio`; its module is imported when it is used."""
    return {"trackio": "layersig_trackio.tracker:Trackio"}
