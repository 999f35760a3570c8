"""How many tokens go through a model at once where the recipe leaves that to the device.

The number follows from the memory that is free when it is first needed in a stage, and from shapes: what a block keeps
for the backward pass is at most about the inputs and outputs of its linear layers, each counted by itself. It is
rounded down to a power of two, so that small changes of the free memory change nothing; an interrupted stage resumes
with the number that it had chosen.
"""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from layersig.distributed.world import ALONE, World, world
from layersig.fast import profile
from layersig.models.config import attention_widths
from layersig.recipe.schema import LEAST_AUTO_TOKENS, MOMENT_BYTES, Optimizer, TokenBudget
from layersig.stages import sizes
from layersig.stages.notes import note

_USED = 0.8
"""Share of the free memory that is planned for; the rest is for fragments and what is not counted."""
_MOVING = 6
"""Numbers of the widest layer that are in memory beside what is kept, for a token in the backward pass."""
_MOST = 2**17
_MOST_READ = 2**16
"""Tokens of a batch beyond which a device is not kept busier, and only its masks grow."""
_MOST_CACHED = 2**18
PROMPTS = 16_384
"""Tokens of prompts that are run at once where answers are begun in turn."""
_GROWTH = 1.25
"""Columns of a cache that is allocated in advance, for each that is used when it is."""


def tokens_at_once(
    model: PreTrainedModel,
    asked: TokenBudget,
    *,
    learning: bool,
    checkpointing: bool = False,
    reserved: int = 0,
    several: World = ALONE,
) -> int:
    """Tokens of a micro-batch.

    Args:
        model: A causal language model as it will be run, on its device.
        asked: A number, which stands; or "auto".
        learning: Whether a backward pass follows.
        checkpointing: Whether blocks keep their inputs alone for it.
        reserved: Bytes that will be taken before the first pass ends: gradients, moments.
        several: The processes that cut batches by it.
    """

    def fitting() -> int:
        return _rounded(_fitting(model, learning=learning, checkpointing=checkpointing, reserved=reserved), _MOST)

    what = "tokens of a training" if reserved else "tokens of a pass"
    return _settled(asked, profile.profile_of(model.device).fixed_tokens, what, fitting, several)


def read_at_once(model: PreTrainedModel, asked: TokenBudget) -> int:
    """Padded tokens of a batch that all processes read, without a backward pass.

    Args:
        model: A causal language model as it will be run, on its device.
        asked: A number, which stands; or "auto".
    """

    def fitting() -> int:
        return _rounded(_fitting(model, learning=False, checkpointing=False, reserved=0), _MOST_READ)

    return _settled(asked, profile.profile_of(model.device).fixed_batch, "tokens that are read", fitting, world())


def written_at_once(model: PreTrainedModel, asked: TokenBudget) -> int:
    """Tokens whose keys and values are held at once while answers are written.

    Args:
        model: A causal language model as it will be run, on its device.
        asked: A number, which stands; or "auto": as many as memory holds beside the passes over prompts.
    """
    choice = profile.profile_of(model.device)

    def fitting() -> int:
        held, prompt = cache_bytes(model), cache_bytes(model) + token_bytes(model, learning=False)
        room = _USED * free_memory(model.device)
        count = room / (_GROWTH * held + prompt)
        if choice.refills and count > PROMPTS:
            count = (room - PROMPTS * prompt) / (_GROWTH * held)
        return _rounded(int(count), _MOST_CACHED)

    return _settled(asked, choice.fixed_batch, "tokens that are held", fitting, world())


def _settled(asked: TokenBudget, fixed: int | None, what: str, fitting: Callable[[], int], several: World) -> int:
    """A number that was asked for, or that is fixed for this kind of device, or what fits."""
    if asked != "auto":
        return asked
    return agreed(what, fitting, several) if fixed is None else fixed


def cache_bytes(model: PreTrainedModel) -> float:
    """Bytes of the keys and values of a token."""
    return float(model.dtype.itemsize * attention_widths(model.config)[1])


def _rounded(count: int, most: int) -> int:
    return min(max(1 << max(count.bit_length() - 1, 0), LEAST_AUTO_TOKENS), most)


def agreed(what: str, choose: Callable[[], int], several: World) -> int:
    """A number that holds for the rest of the stage, in all of its processes, and in those that go on with it.

    Args:
        what: What it is a number of.
        choose: Gives it in this process; the smallest of all processes is taken.
        several: The processes, all of which call this.
    """
    known = several.broadcast(sizes.chosen(what))
    if known is None:
        known = min(several.gather(choose()))
        sizes.choose(what, known)
    return known


def reserved_bytes(trained: int, optimizer: Optimizer, device: torch.device) -> int:
    """Bytes that a training takes on the device beside what it trains: gradients and moments.

    Args:
        trained: Bytes of what is trained, in float32.
        optimizer: How the moments are held; paged ones are not on the device.
        device: Where it trains; micro-batches that run side by side there have gradients of their own for a while.
    """
    sets = 1 + (profile.profile_of(device).lanes > 1)
    return round(trained * (sets + MOMENT_BYTES[optimizer] / 4))


def keeps_blocks(model: PreTrainedModel, largest: int, *, reserved: int = 0, several: World = ALONE) -> bool:
    """Whether what blocks compute may be kept for the backward pass: else not even the largest example fits.

    What is kept and what is computed again are the same bits: this changes memory and time, and no result but the cut
    into micro-batches, where that follows from memory.

    Args:
        model: As it will be trained, on its device; True where it does not say what its blocks are.
        largest: Tokens of the largest example, which no cut divides: of a pair, of both its rows.
        reserved: Bytes that will be taken before the first pass ends.
        several: The processes, all of which keep them, or none.
    """
    if not any(isinstance(module, GradientCheckpointingLayer) for module in model.modules()):
        return True
    least = max(largest, LEAST_AUTO_TOKENS)

    def fits() -> int:
        return int(_fitting(model, learning=True, checkpointing=False, reserved=reserved) >= least)

    keeps = bool(agreed("blocks kept in a training" if reserved else "blocks kept in a pass", fits, several))
    if not keeps:
        note(
            f"train.gradient_checkpointing is on: without it, an example of {largest} tokens does not fit into the "
            "free memory; results are the same"
        )
    return keeps


def _fitting(model: PreTrainedModel, *, learning: bool, checkpointing: bool, reserved: int) -> int:
    """Tokens of a pass that fit into free memory."""
    choice = profile.profile_of(model.device)
    vocabulary = model.config.get_text_config().vocab_size
    logits = min(choice.piece_targets * vocabulary, choice.chunk_elements) * (4 + 2 * model.dtype.itemsize)
    room = _USED * (free_memory(model.device) - reserved) - logits
    return int(max(room, 0) / token_bytes(model, learning=learning, checkpointing=checkpointing))


def token_bytes(model: PreTrainedModel, *, learning: bool, checkpointing: bool = False) -> float:
    """Bytes that a token takes in a pass, by shapes."""
    config = model.config.get_text_config()
    experts = getattr(config, "num_experts_per_tok", None) or 1
    found = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    layers = [_layers(block, experts) for block in found or [model.base_model]]
    blocks = [sum(map(sum, each)) for each in layers]
    kept = max(blocks) if checkpointing or not learning else sum(blocks)
    passing = _MOVING * max((max(sizes) for each in layers for sizes in each), default=1)
    head = 0
    if learning and any(each.requires_grad for each in model.get_output_embeddings().parameters()):
        head = 2 * config.vocab_size
    return float(model.dtype.itemsize * (kept + passing + len(blocks) * config.hidden_size + head))


def _layers(block: nn.Module, experts: int) -> list[tuple[int, int]]:
    """Input and output of every linear layer of a block, for a token; adapters left out."""
    found: list[tuple[int, int]] = []
    for name, module in block.named_modules():
        if ".lora_" in f".{name}":
            continue
        if isinstance(module, nn.Linear):  # quantized ones too, whose weights have another shape
            found.append((module.in_features, module.out_features))
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.ndim in (2, 3):
                first, second = parameter.shape[-2:]
                found += [(first, second)] * (experts if parameter.ndim == 3 else 1)
    return found


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still get on a device, those included that it holds and does not use."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return int(psutil.virtual_memory().available)
