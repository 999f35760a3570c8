"""Stages that only read models and move updates: the layer map, and grafts."""

from __future__ import annotations

from layersig.layers import LayerMap
from layersig.models.adapters import graft as graft_adapter
from layersig.models.dense import base_dtype, read_dense, write_checkpoint
from layersig.models.layermap import layer_map_of_checkpoint
from layersig.models.load import load_model
from layersig.models.stored import is_dense
from layersig.models.updates import DenseUpdate
from layersig.records import Selection
from layersig.stages.job import Job


def layers(job: Job) -> None:
    """Write `layers.json`, the layer map.

    Inputs: `model`. Params: `head`, whether the output head counts as a layer.
    """
    found = layer_map_of_checkpoint(job.inputs["model"], head=job.params["head"])
    job.write("layers.json", found.to_json())


def graft(job: Job) -> None:
    """Keep the reference update on the selected layers only; nothing is trained.

    This is the masked model of ILA (arXiv 2410.17875, section 2) with gamma in {0, 1}.

    Inputs: `update`, an adapter folder or a difference of weights; `selection`; `layers`; for a difference `model`.

    Output: `adapter/` (of LoRA, also from AdaLoRA's factors), or for a difference the checkpoint `model/`.
    """
    known = LayerMap.from_json(job.read("layers", "layers.json"))
    selection = Selection.from_json(job.read("selection", "selection.json"))
    source = job.inputs["update"]
    if not is_dense(source):
        graft_adapter(source, known, [known.by_name[name] for name in selection.layers], job.out / "adapter")
        return
    whole = read_dense(source, known)
    kept = DenseUpdate({name: whole.tensors[name] for name in selection.layers})
    model = load_model(job.inputs["model"], dtype=base_dtype(source), device="cpu")
    write_checkpoint(model, known, kept, job.inputs["model"], job.out / "model")
