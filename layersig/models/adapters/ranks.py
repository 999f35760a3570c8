"""AdaLoRA's allocation of ranks, as PEFT computes it, but without a wait for the device.

PEFT's `update_and_allocate` reads the threshold and every mask back to the host, and copies the masks to the device
again in every step after the last allocation. Here they stay on the device until an adapter is saved.

Plain twin: `AdaLoraModel.update_and_allocate` of PEFT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from peft import AdaLoraConfig, AdaLoraModel, PeftModel
from torch import Tensor

from layersig.models.adapters.wrappers import ADAPTER

_MASKS = "layersig_masks"


def allocate(peft_model: PeftModel, step: int) -> None:
    """What PEFT does after optimizer step `step`, from 1, so that the last step cuts to `target_r`."""
    for parameter in peft_model.parameters():
        if parameter.requires_grad and parameter.grad is None:  # an expert that no token went to
            parameter.grad = torch.zeros_like(parameter)
    config = cast(AdaLoraConfig, peft_model.peft_config[ADAPTER])
    model, allocator = peft_model.get_base_model(), allocator_of(peft_model)
    last = config.total_step - config.tfinal
    if step < last:
        allocator.update_ipt(model)
    if step <= last:
        budget, due = allocator.budget_schedule(step)
        if not due and step < last:
            return
        keep(peft_model, _allocated(peft_model, allocator.init_bgt - budget))
        if step == last:
            allocator.reset_ipt()
    values = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in kept(peft_model).items():
            values[name].masked_fill_(~mask.unsqueeze(1), 0.0)


def kept(peft_model: PeftModel) -> Mapping[str, Tensor]:
    """Which triplets of every layer the last allocation kept, [rank], by name of its `lora_E`; empty before."""
    found: Mapping[str, Tensor] = getattr(allocator_of(peft_model), _MASKS, {})
    return found


def keep(peft_model: PeftModel, masks: Mapping[str, Tensor]) -> None:
    """Let these be the triplets that are kept."""
    setattr(allocator_of(peft_model), _MASKS, masks)


def allocator_of(peft_model: PeftModel) -> Any:
    """PEFT's own state of the allocation."""
    return cast(AdaLoraModel, peft_model.base_model).rankallocator


def _allocated(peft_model: PeftModel, masked: int) -> dict[str, Tensor]:
    """All triplets but the `masked` ones that matter least: S = s(E) + mean of s(A) + mean of s(B)."""
    score = allocator_of(peft_model)._element_score
    importance: dict[str, Tensor] = {}
    for name, _ in peft_model.get_base_model().named_parameters():
        if f"lora_E.{ADAPTER}" in name:
            a, b = score(name.replace("lora_E", "lora_A")).mean(1), score(name.replace("lora_E", "lora_B")).mean(0)
            importance[name] = score(name).view(-1) + torch.stack([a, b], 1).sum(1)
    # Not `kthvalue`, which before torch 2.11 is an error on a GPU in deterministic mode.
    threshold = torch.cat(list(importance.values())).sort().values[masked - 1]
    return {name: ~(each <= threshold) for name, each in importance.items()}
