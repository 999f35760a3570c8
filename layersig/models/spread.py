"""A model over all GPUs of a process, for evaluation of what no single one holds (`model.device_map`).

transformers and accelerate do the work. Blocks fill one GPU after the other, then main memory; what is left stays in
the checkpoint. Whatever is not on a GPU is fetched when it is needed, and computed with on a GPU. So the arithmetic is
that of a model on one GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.accelerate import load_offloaded_parameter

from layersig.errors import UserError

_SHARE = 0.8
"""Share of the free memory of a device that weights may take; what passes through the model needs the rest."""


def room(device: torch.device) -> dict[int | str, int]:
    """Bytes of weights that devices may hold, in the order in which they are filled.

    Args:
        device: The first of the GPUs.

    Raises:
        UserError: It is no GPU, or there are GPUs of different kinds.
    """
    if device.type != "cuda":
        raise UserError(f"model.device_map spreads a model over GPUs, and this process computes on {device}; remove it")
    cards = range(torch.cuda.device_count())
    kinds = sorted({torch.cuda.get_device_name(card) for card in cards})
    if len(kinds) > 1:
        raise UserError(
            f"model.device_map: there are GPUs of different kinds ({', '.join(kinds)}), which compute differently; "
            "choose GPUs of one kind by CUDA_VISIBLE_DEVICES"
        )
    free: dict[int | str, int] = {card: torch.cuda.mem_get_info(card)[0] for card in cards}
    free["cpu"] = psutil.virtual_memory().available
    return {name: int(_SHARE * size) for name, size in free.items()}


def spreading(device: torch.device) -> dict[str, Any]:
    """Keywords of transformers' `from_pretrained` that spread a model.

    Raises:
        UserError: As `room`.
    """
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # `share_elsewhere` says what it would
    return {"device_map": "sequential", "max_memory": room(device)}


def is_spread(model: nn.Module) -> bool:
    """Whether a model lies on several devices, or partly in its files."""
    devices = set(getattr(model, "hf_device_map", {}).values())
    return len(devices) > 1 or "disk" in devices


def share_elsewhere(model: nn.Module) -> float:
    """The share of the weights that are on no device, and are fetched whenever they are needed."""
    counts = [(parameter.numel(), parameter.is_meta) for parameter in model.parameters()]
    return sum(count for count, away in counts if away) / sum(count for count, _ in counts)


def values(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """All parameters by name, also those that are fetched when they are needed."""
    for name, parameter in model.named_parameters():
        yield name, load_offloaded_parameter(model, name) if parameter.is_meta else parameter
