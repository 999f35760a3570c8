"""Whether a model holds what its files say: nothing missing, nothing dropped, nothing read as something else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layersig.errors import UserError, first_few
from layersig.models.tensors import StoredTensor

# What the end of a name gives away, for the message: any tensor without a place in the model is refused.
_FORMATS = (
    (r"(qweight|qzeros|g_idx|\.scales)$", "weights packed by GPTQ or AWQ"),
    (r"(absmax|quant_map|quant_state[\w.]*|\.SCB|weight_format)$", "weights packed by bitsandbytes"),
    (r"(weight_packed|weight_shape|weight_zero_point|weight_g_idx)$", "weights packed by compressed-tensors"),
    (r"(W_q|\.zero|\.meta)$", "weights packed by HQQ"),
    (r"(_blocks|_scales)$", "weights packed as MXFP4"),
    (r"(:\w+|_qdata|tensor_impl[\w.]*)$", "weights packed by torchao"),
    (r"(scale_inv|weight_scale\w*|input_scale\w*|[kv]_scale|output_scale\w*)$", "scales of quantised weights"),
    (r"(lora_\w+(\.\w+)?\.weight|lora_magnitude_vector[\w.]*|base_layer\.\w+|modules_to_save[\w.]*)$", "an adapter"),
)
_FULL = "bring the checkpoint in full precision (dequantised and saved again)"
_REMEDIES = {"an adapter": "merge it (merge_and_unload of PEFT), save the model, and name that folder"}
_FAR_BELOW = -1e4


def check_fit(
    folder: Path, model: PreTrainedModel, report: Mapping[str, Any], stored: Mapping[str, StoredTensor]
) -> frozenset[str]:
    """Refuse a checkpoint that a model was loaded from, if the model is not what the files hold.

    Args:
        folder: Folder of the checkpoint, for messages.
        model: What `from_pretrained` made of it; on the meta device values are not compared.
        report: Its loading info, with `ignore_mismatched_sizes`.
        stored: The tensors of the files.

    Returns:
        Names of stored tensors without a place in the model that are harmless: tables that models once stored.

    Raises:
        UserError: A tensor is missing, has another shape or no place in the model, is packed, or contradicts what
            config.json says of it; the message names it.
    """
    missing, unexpected = set(report["missing_keys"]), set(report["unexpected_keys"])
    _refuse_packed(folder, model, stored.values())
    _refuse_prefix(folder, missing, unexpected)
    _refuse_formats(folder, unexpected)
    misfits = [f"{name} is missing" for name in missing]
    misfits += [f"{name} is {tuple(found)}, not {tuple(due)}" for name, found, due in report["mismatched_keys"]]
    if misfits:
        shown = "; ".join(sorted(misfits)[:3]) + (f"; and {len(misfits) - 3} more" if len(misfits) > 3 else "")
        raise UserError(f"{folder}: the weights do not fit config.json: {shown}. Fetch or save both again.")
    _refuse_other_buffers(folder, model, stored.values())
    harmless = {name: each for name in unexpected if (each := _find(name, stored)) and _is_harmless(each, model)}
    if odd := unexpected - harmless.keys():
        raise UserError(
            f"{folder}: config.json leaves out weights of the checkpoint: {first_few(sorted(odd), 5)}, for which "
            f"{type(model).__name__} has no place, so they would be ignored; correct config.json, or remove them from "
            "the file if the model is right without them"
        )
    _refuse_ties(folder, model, stored)
    return frozenset(tensor.name for tensor in harmless.values())


def check_finite(folder: Path, named: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights that are NaN or infinite in the type they are held in.

    Raises:
        UserError: It names the tensors.
    """
    spoilt = [name for name, tensor in named if tensor.is_floating_point() and not _is_finite(tensor)]
    if spoilt:
        raise UserError(
            f"{folder}: holds values that are not finite (NaN or infinite) in {first_few(sorted(spoilt))}; fetch or "
            "save it again, or choose a wider model.dtype if they are too large for the type"
        )


def _is_finite(tensor: Tensor) -> bool:
    # The extremes of a tensor with a NaN are NaN; unlike `isfinite` this takes no memory.
    return tensor.numel() == 0 or all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def _refuse_packed(folder: Path, model: PreTrainedModel, stored: Iterable[StoredTensor]) -> None:
    """Integers may be buffers; a weight that is no plain floating number would be cast without its scale."""
    counting = {name.rpartition(".")[2] for name, each in model.named_buffers() if not each.is_floating_point()}
    packed = [
        tensor
        for tensor in stored
        if tensor.dtype is None
        and not (tensor.counts and (tensor.name.rpartition(".")[2] in counting or _is_structure(tensor)))
    ]
    if packed:
        kinds = ", ".join(sorted({tensor.kind for tensor in packed}))
        raise UserError(
            f"{folder}: {first_few(sorted(tensor.name for tensor in packed))} stored as {kinds}, which is no plain "
            f"floating type: {_format_of(tensor.name for tensor in packed) or 'weights packed or quantised'}; {_FULL}"
        )


def _refuse_prefix(folder: Path, missing: Collection[str], unexpected: Collection[str]) -> None:
    """Name the prefix that wrappers (`module.`, `_orig_mod.`, `base_model.model.`) leave in front of every name."""
    ends = sorted(missing, key=len)
    for name in sorted(unexpected):
        prefix = next((name.removesuffix(end) for end in ends if name.endswith(f".{end}")), None)
        if prefix and sum(f"{prefix}{end}" in unexpected for end in ends) * 2 > len(ends):
            raise UserError(
                f"{folder}: names of its tensors start with {prefix!r}, which a wrapper left there ({name}); save the "
                "model inside of the wrapper with save_pretrained, or rename the tensors"
            )


def _refuse_formats(folder: Path, unexpected: Collection[str]) -> None:
    found = _format_of(unexpected)
    if found:
        names = [name for name in unexpected if _format_of([name])]
        raise UserError(
            f"{folder}: holds {found} ({first_few(sorted(names))}), which a plain load would ignore; "
            f"{_REMEDIES.get(found, _FULL)}"
        )


def _format_of(names: Iterable[str]) -> str | None:
    names = list(names)
    return next((what for end, what in _FORMATS if any(re.search(end, name) for name in names)), None)


def _refuse_other_buffers(folder: Path, model: PreTrainedModel, stored: Iterable[StoredTensor]) -> None:
    """Refuse stored tables (rotary frequencies, masks) that differ from those which the model computes by itself.

    transformers ignores them, whatever they hold.
    """
    own = _tables(model)
    for tensor in stored:
        computed = [each for each in own.get(tensor.name.rpartition(".")[2], ()) if tuple(each.shape) == tensor.shape]
        if computed and not computed[0].is_meta and not any(_agree(tensor.read(), each) for each in computed):
            raise UserError(
                f"{folder}: {tensor.name} holds other values than config.json gives, and would be ignored; correct "
                "config.json (such as rope_theta), or remove the tensor if config.json is right"
            )


def _tables(model: PreTrainedModel) -> dict[str, list[Tensor]]:
    """Buffers that a model computes and never stores, by the last part of their names."""
    saved = model.state_dict().keys()
    found: dict[str, list[Tensor]] = {}
    for name, buffer in model.named_buffers():
        if name not in saved:
            found.setdefault(name.rpartition(".")[2], []).append(buffer)
    return found


def _agree(one: Tensor, other: Tensor) -> bool:
    # bfloat16 keeps eight bits; masks use any number far below zero.
    one, other = (each.detach().cpu().double().clamp(_FAR_BELOW, -_FAR_BELOW) for each in (one, other))
    return bool(torch.allclose(one, other, rtol=2**-7, atol=1e-6))


def _is_harmless(tensor: StoredTensor, model: PreTrainedModel) -> bool:
    """Whether a tensor without a place is one of the tables that models of its kind once stored."""
    return tensor.name.rpartition(".")[2] in _tables(model) or _is_structure(tensor) or _is_rotary(tensor, model)


def _is_rotary(tensor: StoredTensor, model: PreTrainedModel) -> bool:
    """Whether a tensor is a table of the cosines or sines of the model's own rotary frequencies, tried at its start."""
    wave = {"cos_cached": torch.cos, "sin_cached": torch.sin}.get(tensor.name.rpartition(".")[2])
    start = tensor.read().double().squeeze()[:8] if wave is not None else None
    if wave is None or start is None or start.ndim != 2:
        return False
    for frequencies in _tables(model).get("inv_freq", ()):
        if frequencies.is_meta:
            return True
        half = wave(torch.outer(torch.arange(len(start)).double(), frequencies.detach().cpu().double()))
        for due in (half, torch.cat([half, half], 1)):
            if due.shape == start.shape and torch.allclose(start, due, rtol=0, atol=2**-7):
                return True
    return False


def _find(name: str, stored: Mapping[str, StoredTensor]) -> StoredTensor | None:
    """The stored tensor of a name of the model, which may have the base model's prefix where the file has none."""
    return next((stored[each] for each in (name, name.partition(".")[2]) if each in stored), None)


def _is_structure(tensor: StoredTensor) -> bool:
    """Whether a tensor is what no training makes: a causal mask, a row of positions, a number far below zero."""
    if len(tensor.shape) > 4 or not tensor.name.rpartition(".")[2].endswith(("bias", "mask", "position_ids")):
        return False
    value = tensor.read().double()
    if value.numel() == 1:
        return float(value) <= _FAR_BELOW
    value = value.squeeze()
    if value.ndim == 1:
        return torch.equal(value, torch.arange(len(value)).double())
    if value.ndim != 2 or value.shape[0] != value.shape[1]:
        return False
    mask = torch.ones_like(value).tril()
    return torch.equal(value, mask) or torch.equal(value, 1 - mask)


def _refuse_ties(folder: Path, model: PreTrainedModel, stored: Mapping[str, StoredTensor]) -> None:
    """Refuse a pair of weights that config.json declares one and the files hold as two."""
    for one, other in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        weights = [model.get_parameter_or_buffer(name) for name in (one, other)]
        if weights[0].is_meta:
            weights = [each.read() for name in (one, other) if (each := _find(name, stored)) is not None]
        if len(weights) == 2 and weights[0] is not weights[1] and not _equal(*weights):
            raise UserError(
                f"{folder}: config.json says that {one} and {other} are one weight (tie_word_embeddings), but the "
                f"file holds two that differ; set tie_word_embeddings = false in {folder / 'config.json'} if the file "
                f"is right, or remove {one} from it"
            )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.double(), other.double())
