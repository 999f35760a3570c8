"""Linear maps that stand where blocks were removed: how a checkpoint keeps them, and how its model runs them.

No architecture has a place for them, so that a checkpoint with maps is none of transformers: `config.json` names a
model type of its own, and plain libraries refuse it instead of leaving the maps out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.models.config import PATCHED, PATCHED_FROM
from layersig.models.layermap import block_list
from layersig.records import PATCHES


def write_patches(folder: Path, maps: Mapping[int, Tensor]) -> None:
    """Put maps into the folder of a checkpoint, whose configuration then names a model type of its own.

    Args:
        folder: A complete checkpoint without maps.
        maps: W, [width, width] in float32, by the number of the block that x + x W enters; the number of blocks for the
            state behind the last one.
    """
    save_file({str(place): value.contiguous() for place, value in maps.items()}, folder / PATCHES)
    _mark(folder / "config.json")


def copy_patches(source: Path, folder: Path) -> None:
    """Give the checkpoint in `folder` the maps of the one that it comes from, where that has some."""
    if (source / PATCHES).is_file():
        shutil.copyfile(source / PATCHES, folder / PATCHES)
        _mark(folder / "config.json")


def attach_patches(model: PreTrainedModel, folder: Path) -> None:
    """Make a model loaded from `folder` apply the linear maps stored there, if any.

    Maps become non-persistent buffers, applied by forward hooks.
    """
    if not (folder / PATCHES).is_file():
        return
    blocks = list(block_list(model)[1])
    for name, value in load_file(folder / PATCHES).items():
        place = int(name)
        block = blocks[min(place, len(blocks) - 1)]
        buffer = "patch_behind" if place == len(blocks) else "patch"
        device = next(block.parameters()).device
        block.register_buffer(buffer, value.to(device), persistent=False)
        if place == len(blocks):
            block.register_forward_hook(_leaving)
        else:
            block.register_forward_pre_hook(_entering, with_kwargs=True)


def _entering(
    block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (_mapped(args[0], block.patch), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": _mapped(kwargs["hidden_states"], block.patch)}


def _leaving(block: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, Tensor):
        return _mapped(output, block.patch_behind)
    return (_mapped(output[0], block.patch_behind), *output[1:])


def _mapped(state: Tensor, change: Any) -> Tensor:
    wide = torch.promote_types(state.dtype, change.dtype)
    moved: Tensor = state.to(wide) @ change.to(wide)
    return state + moved.to(state.dtype)


def _mark(file: Path) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    marked = {**value, "model_type": PATCHED, PATCHED_FROM: value["model_type"]}
    file.write_text(json.dumps(marked, indent=2, sort_keys=True) + "\n", encoding="utf-8")
