"""Stages that only read models and move updates: the layer map, and grafts."""

from __future__ import annotations

from layersig.layers import LayerMap
from layersig.models.adapters import graft as graft_adapter
from layersig.models.dense import base_dtype, read_dense, write_checkpoint
from layersig.models.layermap import layer_map_of_checkpoint
from layersig.models.load import load_model
from layersig.models.update_folder import is_dense
from layersig.models.updates import DenseUpdate, LazyTensors
from layersig.records import Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Graft, Layers


def layers(job: Job[Layers]) -> None:
    """Write the layer map; see `Layers`."""
    found = layer_map_of_checkpoint(job.inputs["model"], head=job.spec.head)
    job.write("layers.json", found.to_json())


def graft(job: Job[Graft]) -> None:
    """Keep the reference update on the selected layers only; see `Graft`."""
    known = LayerMap.from_json(job.read("layers", "layers.json"))
    selection = Selection.from_json(job.read("selection", "selection.json"))
    source = job.inputs["update"]
    if not is_dense(source):
        graft_adapter(source, known, [known.by_name[name] for name in selection.layers], job.out / "adapter")
        return
    whole = read_dense(source, known)
    kept = DenseUpdate(
        LazyTensors({name: known.by_name[name].shape for name in selection.layers}, whole.tensors.__getitem__)
    )
    model = load_model(job.inputs["model"], dtype=base_dtype(source), device="cpu")
    write_checkpoint(model, known, kept, job.inputs["model"], job.out / "model")
