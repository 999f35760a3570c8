"""Writes a checkpoint without some of its blocks, in its own dtype, and the stage that does so for an arm."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from layersig.errors import UserError
from layersig.layers import LayerMap
from layersig.models.config import read_config
from layersig.models.depth import remove_blocks
from layersig.models.layermap import layer_map
from layersig.models.load import load_model
from layersig.models.tokenizer_files import copy_tokenizer
from layersig.records import Selection
from layersig.store.job import Job


def prune(job: Job) -> None:
    """Write `model/`, the checkpoint without the selected blocks, and `all/`, which describes what is left.

    That is its layer map, a selection of it all, and in `pruned.json` the names of the blocks that are gone.

    Inputs: `model`; `layers`; `selection`, the layers of whole blocks.
    Params: `head`, whether the output head counts as a layer.

    Raises:
        UserError: A block is selected in part, or what would be left is no model of the architecture.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    removed = whole_blocks(Selection.from_json(job.read("selection", "selection.json")), layers)
    left = write_pruned(job.inputs["model"], removed, job.out / "model", head=job.params["head"])
    (job.out / "all").mkdir()
    job.write("all/pruned.json", {"removed": [layers.blocks[place] for place in removed], "blocks": len(left.blocks)})
    job.write("all/layers.json", left.to_json())
    parameters = sum(layer.parameters for layer in left)
    job.write("all/selection.json", Selection(left.names, parameters).to_json())


def whole_blocks(selection: Selection, layers: LayerMap) -> tuple[int, ...]:
    """Numbers of the blocks that a selection is made of, ascending.

    Raises:
        UserError: It holds a layer outside the blocks, or a block in part.
    """
    chosen = set(selection.layers)
    found = sorted({block for name in chosen if (block := layers.by_name[name].block) is not None})
    due = {layer.name for layer in layers if layer.block in found}
    if chosen != due:
        odd = sorted(chosen ^ due)[0]
        raise UserError(f"only whole blocks can be removed, and the selection of {odd} fits none; select blocks")
    return tuple(found)


def write_pruned(source: Path, removed: Collection[int], folder: Path, *, head: bool = False) -> LayerMap:
    """Write a Hugging Face checkpoint without some blocks: safetensors, configuration, tokenizer files as they are.

    Weights keep their dtype and values; a tied head stays tied.

    Args:
        source: Folder of the checkpoint; it stays as it is.
        removed: Numbers of the blocks to leave out, from 0.
        folder: Target; made when missing.
        head: Whether the output head counts as a layer of the map.

    Returns:
        The layer map of what was written.

    Raises:
        UserError: As `remove_blocks` and `load_model`.
    """
    dtype = read_config(source).dtype or torch.float32
    model = load_model(source, dtype=dtype, device="cpu")
    remove_blocks(model, removed)
    model.save_pretrained(folder)
    copy_tokenizer(source, folder)
    return layer_map(model, head=head)
