"""An update that was made elsewhere: an adapter, a stored difference of weights, or a tuned checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from transformers import PreTrainedModel

from layersig.errors import UserError
from layersig.layers import LayerMap, Part
from layersig.models.dense import write_update
from layersig.models.layermap import layer_map_of_checkpoint, layer_weight, weight_name
from layersig.models.load import load_model
from layersig.models.stored import is_dense, read_update
from layersig.models.tensors import stored_tensors, widest_dtype
from layersig.models.updates import DenseUpdate, Update
from layersig.stages.job import Job
from layersig.stages.kinds import GivenUpdate

# Two models that were trained apart differ by about 1.4 times the norm of either.
_FAR = 0.7
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def update(job: Job[GivenUpdate]) -> None:
    """Write `at-1`, the given update in the form in which a reference training keeps its own, and `origin.json`.

    `origin.json` says what was found, in how many layers it changes
    something, and how many other weights a checkpoint changes, which no scorer sees.

    Raises:
        UserError: The update does not fit the model, leaves a layer out, or changes nothing.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    source, target = job.inputs["update"], job.out / "at-1"
    given: Update
    others: tuple[str, ...] = ()
    if (source / _ADAPTER[0]).is_file():
        found, given = "adapter", read_update(source, layers, lambda: _model(job.inputs["model"]))
        target.mkdir()
        for name in _ADAPTER:
            shutil.copyfile(source / name, target / name)
    elif is_dense(source):
        found, given = "difference", read_update(source, layers)
        shutil.copytree(source, target)
    else:
        apart = difference(job.inputs["model"], source, layers)
        found, given, others = "checkpoint", apart.update, apart.others
        if apart.relative > _FAR:
            job.reporter.warn(
                f"{source}: differs from the model by {apart.relative:.0%} of a layer's norm (median over layers), "
                "more than tuning does; is it a tuned version of this very model?"
            )
        write_update(given, target, base_dtype=torch.float32)
    changed = _changed(source, given, layers)
    if others:
        job.reporter.warn(
            f"{source}: changes {len(others)} weights that are no layers as well, such as {others[0]}; scorers see "
            "the change of the layers alone"
        )
    job.write("origin.json", {"found": found, "layers": len(layers), "changed": changed, "other_weights": len(others)})


def _model(folder: Path) -> PreTrainedModel:
    """The model in float32 or wider, which some adapters cannot be read without."""
    dtype = torch.promote_types(widest_dtype(stored_tensors(folder).values()), torch.float32)
    return load_model(folder, dtype=dtype, device="cpu")


def _changed(source: Path, given: Update, layers: LayerMap) -> int:
    """Number of layers with a change."""
    check_complete(source, given.layers, layers)
    changed = sum(given.norm(name) > 0 for name in given.layers)
    if not changed:
        raise UserError(f"{source}: changes no layer of the model; is it the model itself?")
    return changed


def check_complete(source: Path, changed: Collection[str], layers: LayerMap) -> None:
    """Refuse an update that leaves layers out.

    Raises:
        UserError: It names one.
    """
    missing = sorted(set(layers.names) - set(changed))
    if missing:
        raise UserError(
            f"{source}: has no change for {len(missing)} of {len(layers)} layers, such as {missing[0]}, but scorers "
            "compare all of them; tune all layers, or set layers.head = false if only the head is missing"
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What tells two checkpoints of one model apart.

    Attributes:
        update: The change of every layer.
        others: Names of other weights that changed.
        relative: Median over layers of the change's norm over the weight's.
    """

    update: DenseUpdate
    others: tuple[str, ...]
    relative: float


def difference(before: Path, after: Path, layers: LayerMap) -> Difference:
    """What tells two checkpoints apart.

    Both are read in the narrowest type that holds every tensor of both files as it is stored, whatever their
    configurations say.

    Args:
        before: Folder of the model.
        after: Folder of the same model with other weights.
        layers: Map of the model.

    Raises:
        UserError: The two are not the same model with other weights; or as `load_model`.
    """
    check_layers(after, layers)
    stored = [*stored_tensors(before).values(), *stored_tensors(after).values()]
    dtype = widest_dtype(stored)
    one, two = (load_model(path, dtype=dtype, device="cpu") for path in (before, after))
    names = {weight_name(layer) for layer in layers}
    mine, theirs = (model.state_dict() for model in (one, two))
    others = tuple(
        name for name in mine if name not in names and (name not in theirs or not torch.equal(mine[name], theirs[name]))
    )
    update = DenseUpdate.difference(one, two, layers)
    norms = [float(torch.linalg.vector_norm(layer_weight(one, layer), dtype=torch.float64)) for layer in layers]
    ratios = [update.norm(layer.name) / norm for layer, norm in zip(layers, norms, strict=True) if norm]
    relative = median(ratios or [0.0])
    return Difference(update, others, relative)


def check_layers(folder: Path, layers: LayerMap) -> None:
    """Refuse a checkpoint whose layers are not those of a map, from its configuration alone.

    Raises:
        UserError: It names the first layer that differs.
    """
    found = layer_map_of_checkpoint(folder, head=any(layer.part is Part.HEAD for layer in layers))
    shapes = [{layer.name: layer.shape for layer in each} for each in (layers, found)]
    for name in [*shapes[0], *shapes[1]]:
        due, there = (str(each.get(name, "missing")) for each in shapes)
        if due != there:
            raise UserError(f"{folder}: is not the recipe's model with other weights: {name} is {there}, not {due}")
