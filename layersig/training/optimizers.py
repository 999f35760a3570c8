"""Optimizers whose moments take less memory than the weights that they move, and how the moments of any are restored.

AdamW keeps two moments of every trained value, 8 bytes in float32. `adamw-bf16` keeps them in bfloat16; the others are
those of bitsandbytes: 8-bit moments in blocks of 256 with a scale each (Dettmers et al., arXiv 2110.02861), and moments
that lie in memory of the host and are paged in (arXiv 2305.14314, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from layersig.distributed.sharding import split_like
from layersig.errors import UserError

_ELEMENTS = 2**24
"""Values moved at a time, so that float32 copies of moments stay small: 64 MiB each."""
_EPSILON = 1e-8


class AdamWBf16(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) with both moments in bfloat16, rounded up or down at random.

    A step changes the second moment by a share of 1 - beta2, less than half of the distance between two bfloat16
    values, so that rounding to the nearest would leave it where it is. A value x between its neighbours a < b becomes b
    with probability (x - a) / (b - a), so that the mean is right. Draws depend on the step and on the place of the
    parameter alone. The step itself is computed in float32 from moments that are not rounded yet.

    Args:
        params: What moves, float32.
        lr: Learning rate.
        betas: Decay rates of the moments.
        weight_decay: Decoupled from the gradient.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, betas: tuple[float, float], weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.int64)
                    for name in ("exp_avg", "exp_avg_sq"):
                        state[name] = torch.zeros_like(parameter, dtype=torch.bfloat16)
                state["step"] += 1
                number = int(state["step"])
                generator = torch.Generator(parameter.device).manual_seed((number << 24) + place)
                rows = max(1, _ELEMENTS // max(1, parameter[0].numel())) if parameter.ndim else 1
                parts = (parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"])
                pieces = (each.split(rows) if each.ndim else (each,) for each in parts)
                for value, grad, first, second in zip(*pieces, strict=True):
                    _move(value, grad, (first, second), number, group, generator)


def _move(
    value: Tensor,
    grad: Tensor,
    moments: tuple[Tensor, Tensor],
    step: int,
    group: Mapping[str, Any],
    draws: torch.Generator,
) -> None:
    beta1, beta2 = group["betas"]
    mean = moments[0].to(value.dtype).lerp_(grad, 1 - beta1)
    square = moments[1].to(value.dtype).mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    for moment, exact in zip(moments, (mean, square), strict=True):
        moment.copy_(rounded_at_random(exact, draws))
    value.mul_(1 - group["lr"] * group["weight_decay"])
    scale = square.sqrt_().div_(math.sqrt(1 - beta2**step)).add_(_EPSILON)
    value.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**step))


def rounded_at_random(values: Tensor, generator: torch.Generator) -> Tensor:
    """Values as bfloat16, each rounded to one of its two neighbours so that its mean is kept.

    Args:
        values: Finite.
        generator: Source of the draws, on the device of the values.
    """
    bits = values.float().view(torch.int32)
    draws = torch.randint(0, 1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    # A bfloat16 is the upper half of a float32: what the lower half carries over decides.
    return draws.add_(bits).bitwise_and_(-(1 << 16)).view(torch.float32).to(torch.bfloat16)


def check_installed(optimizer: str) -> None:
    """Refuse an optimizer whose package is missing.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if optimizer in ("adamw-8bit", "paged-adamw", "paged-adamw-8bit") and find_spec("bitsandbytes") is None:
        raise UserError(
            f"train.optimizer = {optimizer!r} needs the package bitsandbytes; install it, or write 'adamw-bf16', which "
            "needs nothing"
        )


def small_adamw(
    optimizer: str, values: list[Tensor], lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with small or paged moments.

    Args:
        optimizer: `adamw-bf16`, `adamw-8bit`, `paged-adamw` or `paged-adamw-8bit`. On a CPU, whose memory the system
            pages anyway, `paged-` changes nothing.
        values: What moves.
        lr: Learning rate.
        betas: Decay rates of the moments.
        weight_decay: Decoupled from the gradient.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if optimizer == "adamw-bf16":
        return AdamWBf16(values, lr, betas, weight_decay)
    check_installed(optimizer)
    from bitsandbytes.optim.optimizer import Optimizer2State

    found: torch.optim.Optimizer = Optimizer2State(
        "adam",  # bitsandbytes' name of AdamW too: its weight decay is decoupled
        values,
        lr=lr,
        betas=betas,
        eps=_EPSILON,
        weight_decay=weight_decay,
        optim_bits=8 if optimizer.endswith("8bit") else 32,
        is_paged=optimizer.startswith("paged") and all(each.device.type == "cuda" for each in values),
    )
    return found


def restore_moments(optimizer: torch.optim.Optimizer, place: int, moments: Mapping[str, Tensor]) -> None:
    """Put the saved moments of one parameter back, each in the type that it was saved in.

    Args:
        optimizer: It has one group.
        place: Of the parameter.
        moments: What its state held; numbers as tensors.
    """
    (group,) = optimizer.param_groups
    parameter = group["params"][place]
    start = getattr(optimizer, "init_state", None)
    if start is None:
        optimizer.state[parameter] = {
            key: value if isinstance(optimizer, AdamWBf16) and key == "step" else split_like(value, parameter)
            for key, value in moments.items()
        }
        return
    start(group, parameter, 0, place)  # paged memory is bitsandbytes' to allocate
    state = optimizer.state[parameter]
    for key, value in moments.items():
        if isinstance(state[key], Tensor):
            state[key].copy_(value)
        else:
            state[key] = value.item()
