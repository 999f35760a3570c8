"""Stages that only read models and move adapters: the layer map, and grafts."""

from __future__ import annotations

from layersig.layers import LayerMap
from layersig.models.adapters import graft as graft_adapter
from layersig.models.layermap import layer_map_of_checkpoint
from layersig.records import Selection
from layersig.store.job import Job


def layers(job: Job) -> None:
    """Write `layers.json`, the layer map.

    Inputs: `model`. Params: `head`, whether the output head counts as a layer.
    """
    found = layer_map_of_checkpoint(job.inputs["model"], head=job.params["head"])
    job.write("layers.json", found.to_json())


def graft(job: Job) -> None:
    """Write `adapter/`: the reference update kept on the selected layers only, nothing trained.

    This is the masked model of ILA (arXiv 2410.17875, section 2) with gamma in {0, 1}.

    Inputs: `update`, an adapter folder; `selection`; `layers`.
    """
    known = LayerMap.from_json(job.read("layers", "layers.json"))
    selection = Selection.from_json(job.read("selection", "selection.json"))
    keep = [known.by_name[name] for name in selection.layers]
    graft_adapter(job.inputs["update"], known, keep, job.out / "adapter")
