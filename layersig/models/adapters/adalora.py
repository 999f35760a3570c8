"""What is AdaLoRA's own: folders read as the LoRA adapters they amount to, ranks stored exactly, the training's state.

The change of a layer is scale * P diag(E) Q with PEFT's scale alpha / (init_r + 1e-5), whatever rank the layer is left
with; P is `lora_B` and Q is `lora_A`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel
from peft.tuners.adalora.layer import AdaLoraLayer
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from layersig.errors import UserError
from layersig.models.adapters.ranks import allocator_of, keep, kept
from layersig.models.adapters.wrappers import ADAPTER

EPSILON = 1e-5
"""What PEFT adds to the rank before it divides by it."""
ADALORA = frozenset({"target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight"}) | {
    "total_step"
}
"""Settings that AdaLoRA has beside those of LoRA; none changes what its factors mean."""

_PREFIX = "base_model.model."


def as_lora(file: Path, config: AdaLoraConfig, tensors: Mapping[str, Tensor]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """An AdaLoRA adapter as the LoRA adapter that computes the same: B = P and A = diag(E) Q.

    A layer that was left without a rank gets one of zeros, since LoRA knows no rank of 0.

    Raises:
        UserError: A factor is missing or is none of AdaLoRA.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = re.fullmatch(re.escape(_PREFIX) + r"(.+)\.lora_([AEB])", key)
        if match is None:
            raise UserError(f"{file}: {key} is no factor of AdaLoRA; only lora_A, lora_E and lora_B are understood")
        found.setdefault(match[1], {})[match[2]] = tensor
    scale = (config.lora_alpha if config.lora_alpha > 0 else config.init_r) / (config.init_r + EPSILON)
    lora = LoraConfig(
        r=config.init_r,
        lora_alpha=scale * config.init_r,
        lora_dropout=config.lora_dropout,
        target_modules=config.target_modules,
        fan_in_fan_out=config.fan_in_fan_out,
        base_model_name_or_path=config.base_model_name_or_path,
        revision=config.revision,
        task_type=config.task_type,
        inference_mode=config.inference_mode,
    )
    made: dict[str, Tensor] = {}
    for name, factors in found.items():
        if len(factors) < 3:
            raise UserError(f"{file}: {name} lacks one of its three factors lora_A, lora_E and lora_B")
        a, b = (factors["E"] * factors["A"]).contiguous(), factors["B"]
        if len(a) == 0:
            a, b = a.new_zeros(1, a.shape[1]), b.new_zeros(b.shape[0], 1)
        made[f"{_PREFIX}{name}.lora_A.weight"], made[f"{_PREFIX}{name}.lora_B.weight"] = a, b
        if len(a) != config.init_r:
            lora.rank_pattern[re.escape(name)] = len(a)
            lora.alpha_pattern[re.escape(name)] = scale * len(a)
    return lora, made


@contextmanager
def exact_ranks(peft_model: PeftModel) -> Iterator[None]:
    """Within this context PEFT saves an AdaLoRA adapter as it computes; other adapters are not touched.

    PEFT leaves out what the last allocation of ranks masked. Between two allocations the optimizer moves those values
    away from zero again, and then all factors must be stored.
    """
    config = peft_model.peft_config[ADAPTER]
    masks = kept(peft_model) if isinstance(config, AdaLoraConfig) else {}
    if not masks:
        yield
        return
    values = dict(peft_model.get_base_model().named_parameters())
    if all(not values[name].detach()[~mask].any() for name, mask in masks.items()):
        config.rank_pattern = {name: mask.tolist() for name, mask in masks.items()}
    try:
        with warnings.catch_warnings():
            # PEFT takes the factors of a layer that was left without a rank for shards.
            warnings.filterwarnings("ignore", message=r"Adapter .* have invalid shape")
            yield
    finally:
        config.rank_pattern = None


def load_exactly(folder: Path, wrappers: Mapping[str, LoraLayer]) -> None:
    """Put the stored factors of AdaLoRA in place in float32 or wider; PEFT has rounded them to the base's type."""
    if not any(isinstance(wrapper, AdaLoraLayer) for wrapper in wrappers.values()):
        return
    tensors = load_file(folder / "adapter_model.safetensors")
    for name, wrapper in wrappers.items():
        for kind in ("lora_A", "lora_E", "lora_B"):
            factors, value = getattr(wrapper, kind), tensors[f"{_PREFIX}{name}.{kind}"]
            wide = torch.promote_types(value.dtype, torch.float32)
            factors[ADAPTER] = nn.Parameter(value.to(factors[ADAPTER].device, wide), requires_grad=False)


def orthogonality(peft_model: PeftModel) -> Tensor:
    """PEFT's penalty on factors that are not orthogonal: weight * mean over P and Q of |Q Q' - I|.

    PEFT adds it in a forward pass that computes the loss itself; here the loss is computed from gathered logits.
    """
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for name, factor in peft_model.get_base_model().named_parameters():
        for kind in ("lora_A", "lora_B"):
            if name.endswith(f".{kind}.{ADAPTER}"):
                wide = factor.mT if kind == "lora_B" else factor
                by_shape.setdefault(wide.shape, []).append(wide)
    gaps = [_gaps(torch.stack(factors)) for factors in by_shape.values()]
    config = cast(AdaLoraConfig, peft_model.peft_config[ADAPTER])
    return torch.cat(gaps).mean() * float(config.orth_reg_weight)


def _gaps(factors: Tensor) -> Tensor:
    """|Q Q' - I| of each of several factors of one shape, (n, r, width): a few operations for all of them."""
    identity = torch.eye(factors.shape[-2], dtype=factors.dtype, device=factors.device)
    gaps: Tensor = torch.linalg.matrix_norm(factors @ factors.mT - identity)
    return gaps


def allocation_state(peft_model: PeftModel) -> dict[str, Tensor]:
    """What the allocation of ranks remembers between steps: moving averages by factor, and what is masked."""
    allocator = allocator_of(peft_model)
    return {
        **{f"importance/{name}": value for name, value in allocator.exp_avg_ipt.items()},
        **{f"uncertainty/{name}": value for name, value in allocator.exp_avg_unc.items()},
        **{f"kept/{name}": mask for name, mask in kept(peft_model).items()},
    }


def restore_allocation(peft_model: PeftModel, state: Mapping[str, Tensor]) -> None:
    """Put back what `allocation_state` gave."""

    def part(kind: str) -> dict[str, Tensor]:
        return {name.partition("/")[2]: value for name, value in state.items() if name.startswith(f"{kind}/")}

    allocator = allocator_of(peft_model)
    device = peft_model.get_base_model().device
    allocator.exp_avg_ipt = {name: value.to(device) for name, value in part("importance").items()}
    allocator.exp_avg_unc = {name: value.to(device) for name, value in part("uncertainty").items()}
    # Made anew in every step; a name that is missing would reset both averages.
    allocator.ipt = dict(allocator.exp_avg_ipt)
    keep(peft_model, {name: value.to(device) for name, value in part("kept").items()})
