"""Writes a checkpoint without some of its blocks, tensor by tensor as it is stored, and the stage that does so."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from layersig.errors import UserError, first_few, is_machine_fault, one_line
from layersig.layers import LayerMap
from layersig.models.block_removal import Removal, remove_blocks
from layersig.models.blocks import BlockRunner
from layersig.models.layermap import layer_map
from layersig.models.load import check_model, keep_scale, load_model
from layersig.models.saving import copy_belongings
from layersig.models.tensors import StoredTensor, widest_dtype
from layersig.records import Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Prune
from layersig.store.files import whole_folder

_SHARD = "50GB"
_ROUNDING = {2: 2, 4: 16, 8: 16}
"""How far logits may differ for rounding alone, by norm, in epsilons of their type, by its bytes: most are equal."""


def prune(job: Job[Prune]) -> None:
    """Remove the selected blocks; see `Prune`.

    Raises:
        UserError: A block is selected in part, or what would be left is no model of the architecture.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    removed = whole_blocks(Selection.from_json(job.read("selection", "selection.json")), layers)
    left = write_pruned(job.inputs["model"], removed, job.out / "model", head=job.spec.head)
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
        raise UserError(
            f"only complete blocks can be removed; {odd} is in no block, or in one selected in part: select blocks"
        )
    return tuple(found)


def write_pruned(source: Path, removed: Collection[int], folder: Path, *, head: bool = False) -> LayerMap:
    """Write a Hugging Face checkpoint without some blocks: safetensors, configuration, tokenizer files as they are.

    Tensors are copied from file to file, so each keeps its type and its bytes, whatever config.json says; only a tensor
    outside of the blocks with a stretch for each of them is cut. Before anything appears at `folder`, the checkpoint is
    read back by transformers alone, and must compute what the source computes with these blocks skipped.

    Args:
        source: Folder of the checkpoint; it stays as it is.
        removed: Numbers of the blocks to leave out, from 0.
        folder: Target; written completely or not at all.
        head: Whether the output head counts as a layer of the map.

    Returns:
        The layer map of what was written.

    Raises:
        UserError: As `remove_blocks` and `load_model`, or the architecture does not pass the test.
    """
    checked = check_model(source)
    dtype = widest_dtype(checked.stored.values())
    model = load_model(source, dtype=dtype, device="cpu")
    title = f"{type(model).__name__} ({model.config.model_type})"
    due = _skipping(model, removed, title)
    removal = remove_blocks(model, removed)
    layers = layer_map(model, head=head)
    model.config.dtype = str(dtype).removeprefix("torch.")
    model.config.architectures = [type(model).__name__]
    with whole_folder(folder) as temporary:
        model.config.save_pretrained(temporary)
        copy_belongings(model, source, temporary)
        del model
        kept = [tensor for name, tensor in checked.stored.items() if name not in checked.ignored]
        _write_weights(kept, removal, title, temporary)
        _read_back(temporary, due, title)
    return layers


def _write_weights(stored: Iterable[StoredTensor], removal: Removal, title: str, folder: Path) -> None:
    """Copy what stays, with the blocks' new numbers in the names."""
    tensors = {tensor.name: tensor for tensor in stored}
    prefix = _prefix_in_file(tensors, removal, title)
    number = {place: new for new, place in enumerate(removal.keep)}
    cuts = {each: stretches for name, stretches in removal.stretches.items() for each in _spellings(name, tensors)}
    if len(cuts) < len(removal.stretches):
        raise UserError(
            f"{title}: blocks cannot be removed, because the file has other names than "
            f"{first_few(sorted(removal.stretches))}"
        )
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix) and (place := name.removeprefix(prefix).partition(".")[0]).isdecimal():
            if int(place) in number:
                rest = name.removeprefix(f"{prefix}{place}")
                found[f"{prefix}{number[int(place)]}{rest}"] = tensor.read()
        else:
            found[name] = cuts[name].of(tensor.read(), removal.keep) if name in cuts else tensor.read()
    save_torch_state_dict(found, folder, max_shard_size=_SHARD, metadata={"format": "pt"})


def _spellings(name: str, names: Collection[str]) -> list[str]:
    """How a file spells the name of a tensor: from some part on as the model does."""
    parts = name.split(".")
    ends = [".".join(parts[start:]) for start in range(len(parts) - 1)]
    return next((same for end in ends if (same := [each for each in names if f".{each}".endswith(f".{end}")])), [])


def _prefix_in_file(names: Iterable[str], removal: Removal, title: str) -> str:
    """What stands in front of a block's number in the names of a file, which may differ from those of the model."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        if match := re.match(r"(?:.*?\.)??(\d+)\.", name):
            numbers.setdefault(name[: match.start(1)], set()).add(int(match[1]))
    due = removal.prefix.split(".")
    fits = {
        prefix: (prefix == f"{removal.prefix}.", len(set(prefix.split(".")) & set(due)))
        for prefix, places in numbers.items()
        if places >= set(range(removal.depth))
    }
    best = [prefix for prefix, alike in fits.items() if alike == max(fits.values())]
    if len(best) != 1:
        raise UserError(
            f"{title}: blocks cannot be removed, because the names in the file do not show which tensors belong to the "
            f"{removal.depth} blocks of {removal.prefix}"
        )
    return best[0]


def _tokens(model: PreTrainedModel) -> Tensor:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    return torch.randint(vocabulary, (2, 16), generator=torch.Generator().manual_seed(0))


def _skipping(model: PreTrainedModel, removed: Collection[int], title: str) -> Tensor:
    """Logits of a model whose blocks `removed` hand on what they are given."""
    try:
        with torch.no_grad():
            return BlockRunner(model, removed).run({"input_ids": _tokens(model)}).logits
    except Exception as error:  # what an architecture does in its forward pass brings errors of every kind
        if is_machine_fault(error):
            raise
        raise UserError(
            f"{title}: blocks cannot be removed, because it does not run without them ({one_line(error)})"
        ) from error


def _read_back(folder: Path, due: Tensor, title: str) -> None:
    """Load a checkpoint as anybody would, and compare what it computes.

    Raises:
        UserError: A tensor is missing or too many, or the logits differ.
    """
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
        if model.dtype is torch.float64:
            model.set_experts_implementation("eager")
        keep_scale(model)
        with torch.no_grad():
            found = model.eval()(input_ids=_tokens(model), use_cache=False).logits
    except Exception as error:  # as above
        if is_machine_fault(error):
            raise
        raise UserError(
            f"{title}: blocks cannot be removed, because what is left does not load ({one_line(error)})"
        ) from error
    misfits = {*report["missing_keys"], *report["unexpected_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if misfits:
        raise UserError(
            f"{title}: blocks cannot be removed, because what is left does not load in full: "
            f"{first_few(sorted(misfits))}"
        )
    wanted = due.cpu().double()
    apart = float((found.cpu().double() - wanted).norm() / wanted.norm())
    if not apart <= _ROUNDING[due.dtype.itemsize] * torch.finfo(due.dtype).eps:
        raise UserError(
            f"{title}: blocks cannot be removed, because the checkpoint without them computes something else than the "
            f"model that skips them (logits differ by {100 * apart:.2g} % of their norm)"
        )
