"""Loads models and tokenizers from a folder in Hugging Face's format, and lends one model to many users."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import is_bitsandbytes_available
from transformers.utils import logging as transformers_logging

from layersig.distributed.sharding import local
from layersig.distributed.world import world
from layersig.errors import UserError, is_machine_fault, one_line
from layersig.layers import Layer
from layersig.models.config import read_config
from layersig.models.devices import free, pick_device, pick_dtype
from layersig.models.fit import check_finite, check_fit
from layersig.models.patches import attach_patches
from layersig.models.split import split
from layersig.models.spread import is_spread, spreading, values
from layersig.models.tensor_hash import hash_values
from layersig.models.tensors import StoredTensor, stored_tensors

Quantization = Literal["none", "nf4"]


def load_model(
    path: Path,
    *,
    dtype: torch.dtype | str,
    device: torch.device | str,
    quantization: Quantization = "none",
    attention: str = "sdpa",
    device_map: Literal["auto"] | None = None,
) -> PreTrainedModel:
    """A causal language model in eval mode with gradients off. No code from the folder is run.

    Args:
        path: Folder with config.json and weights.
        dtype: Dtype of the weights, or its name; of the computation when they are quantised.
        device: Where to put it, or its name.
        quantization: "nf4" stores linear weights in 4-bit NormalFloat (Dettmers et al., arXiv 2305.14314) with
            double quantisation; it needs bitsandbytes.
        attention: Kernel of attention: "sdpa", "eager" or another name of transformers. Models without an SDPA kernel
            use the eager one.
        device_map: "auto" fills all GPUs, then main memory, and leaves the rest on disk; `device` is the first.

    Raises:
        UserError: A file is missing, broken or does not fit the configuration (the message names it), the model is
            not a causal language model, or bitsandbytes is missing.
    """
    device = pick_device(str(device))
    dtype = pick_dtype(dtype, device).dtype if isinstance(dtype, str) else dtype
    options: dict[str, Any] = {}
    if device_map is not None:
        options |= spreading(device)
    elif device.type == "cuda" or quantization == "nf4":  # from the file to the device, past the memory of the host
        options["device_map"] = {"": device}
    if quantization == "nf4":
        if not is_bitsandbytes_available():
            raise UserError("quantization = 'nf4' needs the package bitsandbytes; install it or write 'none'")
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    if attention != "sdpa":  # asking for it by name would refuse models that have no such kernel
        options["attn_implementation"] = attention
    model, _ = _read(path, stored_tensors(path), dtype=dtype, **options)
    check_finite(path, values(model))
    if dtype is torch.float64:
        model.set_experts_implementation("eager")  # the fast path of transformers knows no float64
    model.eval().requires_grad_(False)
    attach_patches(model, path)
    keep_scale(model)
    if quantization == "nf4":
        _keep_packing(model)
    return model if quantization == "nf4" or is_spread(model) else model.to(device)


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A checkpoint whose headers were compared with its configuration.

    Attributes:
        model: The model on the meta device, without values.
        stored: The tensors of the files, by name.
        ignored: Those of them that the model has no place for, and that are harmless.
        declared: The type that config.json declares, if any.
    """

    model: PreTrainedModel
    stored: dict[str, StoredTensor]
    ignored: frozenset[str]
    declared: torch.dtype | None


def check_model(path: Path, dtype: torch.dtype = torch.float32) -> CheckedModel:
    """Compare what the files in a folder hold with what config.json describes, without reading weights.

    Args:
        path: The folder.
        dtype: Type of the model, but for tensors that transformers keeps in another.

    Raises:
        UserError: As `load_model`, but for what only values show.
    """
    stored = stored_tensors(path)
    model, ignored = _read(path, stored, dtype=dtype, device_map={"": "meta"})
    declared = read_config(path).dtype
    return CheckedModel(model, stored, ignored, declared if isinstance(declared, torch.dtype) else None)


def _read(path: Path, stored: dict[str, StoredTensor], **options: Any) -> tuple[PreTrainedModel, frozenset[str]]:
    config = read_config(path)
    _refuse_adapter_beside(path)
    depth = getattr(config.get_text_config(decoder=True), "num_hidden_layers", None) or 0
    if depth > len(stored):
        raise UserError(
            f"{path}: the weights do not fit config.json: {depth} blocks (num_hidden_layers) cannot be made of "
            f"{len(stored)} tensors. Fetch or save both again."
        )
    # Progress is the engine's to show, and what does not fit is named below.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report names them
            **options,
        )
    except Exception as error:  # a configuration whose values do not go together brings errors of every kind
        if is_machine_fault(error):
            raise
        raise UserError(
            f"{path}: transformers cannot load the model ({one_line(error)}); fetch or save it again"
        ) from error
    return model, check_fit(path, model, report, stored)


def _refuse_adapter_beside(path: Path) -> None:
    if (path / "adapter_config.json").is_file():
        raise UserError(
            f"{path}: holds the weights of a model and an adapter (adapter_config.json), and nothing says whether the "
            "adapter is merged into them; remove the adapter's files if it is, else name the base model as "
            "model.source and the adapter as update.source, in folders of their own"
        )


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the model in folder `path`; one without a padding token pads with its end-of-text token.

    Raises:
        UserError: The folder holds no tokenizer that transformers can read.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # the parsers of tokenizers raise bare Exception
        raise UserError(f"{path}: holds no tokenizer that transformers can read ({one_line(error)})") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def stored_bytes(parameter: nn.Parameter) -> int:
    """Bytes that a weight takes in this process, with the scales of a quantised one."""
    state = getattr(parameter, "quant_state", None)
    scales = state.as_dict().values() if state is not None else ()
    return local(parameter).nbytes + sum(each.nbytes for each in scales if isinstance(each, torch.Tensor))


def dequantised(parameter: nn.Parameter) -> Tensor:
    """The values that a weight is computed with: of a quantised one those unpacked, of another the weight itself."""
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return parameter
    from bitsandbytes.functional import dequantize_4bit

    value: Tensor = dequantize_4bit(parameter.detach(), state)
    return value


def keep_scale(model: PreTrainedModel) -> None:
    """Keep RWKV from halving weights in place at its first pass, and states with them: it would look changed.

    That only guards against the range of float16, and its results differ in the last digits.
    """
    if hasattr(model.base_model, "_rescale_layers"):
        model.base_model._rescale_layers = _leave


def _leave() -> None:
    """Do nothing."""


def _keep_packing(model: PreTrainedModel) -> None:
    """On some CPUs bitsandbytes repacks weights in place at first use, and a frozen model would look changed."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@dataclass(frozen=True, slots=True)
class _LentModel:
    key: tuple[Any, ...]
    model: PreTrainedModel
    state: tuple[Any, ...]


_lent: _LentModel | None = None


@contextmanager
def borrow_model(
    path: Path,
    *,
    dtype: torch.dtype | str,
    device: torch.device | str,
    quantization: Quantization = "none",
    attention: str = "sdpa",
    device_map: Literal["auto"] | None = None,
    weights: Sequence[Layer] = (),
    borrower: str = "",
) -> Iterator[PreTrainedModel]:
    """Lend the model that `load_model` would load, loading it only if the last one lent was another.

    One model is kept per process. It comes back clean or is dropped: same modules, parameters, values and hooks, no
    gradients, in eval mode. Within the block the borrower alone holds it. One that is split among several processes is
    always loaded, and never kept.

    Args:
        path: As `load_model`, like the five that follow.
        dtype: See there.
        device: See there.
        quantization: See there.
        attention: See there.
        device_map: See there; a model that is split among processes is not spread as well.
        weights: Layers whose weights themselves will be trained: those of a model that is split must be wide then.
        borrower: Who must bring it back clean, for the error if it does not; if empty, a changed model is dropped.

    Raises:
        UserError: The borrower changed the model and did not restore it.
    """
    global _lent
    device = pick_device(str(device))
    dtype = pick_dtype(dtype, device).dtype if isinstance(dtype, str) else dtype
    if world().sharded:
        if quantization != "none":
            raise UserError("--shard cannot split 4-bit weights; set model.quantization to none, or leave --shard away")
        model = load_model(path, dtype=dtype, device="cpu", attention=attention)
        try:
            yield split(model, device, weights)
        finally:
            del model
            free(device)
        return
    stamps = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(path.glob("*")))
    key = (path.resolve(), stamps, str(dtype), str(device), quantization, attention, device_map)
    kept, _lent = _lent, None
    if kept is None or kept.key != key:
        kept = None
        _exempt_libraries()
        free(device)
        model = load_model(
            path, dtype=dtype, device=device, quantization=quantization, attention=attention, device_map=device_map
        )
        kept = _LentModel(key, model, _state(model))
    try:
        yield kept.model
    finally:
        if clean := _state(kept.model) == kept.state:
            _lent = kept
        del kept
        # What the borrower has let go of must not count as memory of the next one.
        free(device)
    if borrower and not clean:
        raise UserError(f"{borrower} changed the model and did not restore it; it must leave the model as it was")


@cache
def _exempt_libraries() -> None:
    """Keep the half million objects of the libraries out of the search for garbage that follows every loan.

    Where a model is alive already, as in a notebook, nothing is exempted: it would never be freed.
    """
    gc.collect()
    if not any(issubclass(type(found), PreTrainedModel) for found in gc.get_objects()):
        gc.freeze()


def _state(model: PreTrainedModel) -> tuple[Any, ...]:
    """Everything that a borrower must leave as it was."""
    modules = tuple(
        (
            name,
            type(module),
            module.training,
            tuple(module._parameters),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
            len(module._backward_pre_hooks),
            "forward" in module.__dict__,
        )
        for name, module in model.named_modules()
    )
    parameters = tuple((parameter.requires_grad, parameter.grad is None) for parameter in model.parameters())
    tensors = (*model.parameters(), *model.buffers())
    hashes = hash_values(each for each in tensors if not each.is_meta)  # what is fetched when needed is in no reach
    return modules, parameters, hashes, hasattr(model, "peft_config")
