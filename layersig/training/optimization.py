"""How parameters move: optimizer, learning-rate schedule, weight decay, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from layersig.recipe.schema import Optimizer, TrainSettings
from layersig.training.optimizers import small_adamw


@dataclass(frozen=True, slots=True)
class Optimization:
    """The rule of one optimizer step.

    Attributes:
        optimizer: `adamw` (decoupled weight decay) or one of its kinds with small moments, `adam`, or `sgd` (without
            momentum).
        learning_rate: Peak learning rate.
        schedule: Learning rate after warm-up; `cosine` and `linear` fall to 0 at the end.
        warmup_ratio: Share of the steps spent warming up.
        betas: Decay rates of the two moments of AdamW and Adam.
        weight_decay: Applies to every trained parameter.
        clip: Largest 2-norm of the whole gradient; None leaves it as it is.
    """

    optimizer: Optimizer | Literal["adam", "sgd"]
    learning_rate: float
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    warmup_ratio: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float | None = None

    @classmethod
    def of(cls, settings: TrainSettings) -> Optimization:
        """What a recipe's `[train]` says."""
        return cls(
            settings.optimizer,
            settings.learning_rate,
            settings.schedule,
            settings.warmup_ratio,
            settings.betas,
            settings.weight_decay,
            settings.clip,
        )

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Learning rate of optimizer step `step` (from 0) of `steps`.

        The formulas are those of transformers' `get_scheduler` with ceil(ratio * steps) warm-up steps, so the first
        step of a warm-up has rate 0. Deviation: the warm-up leaves at least one step after it, so that a training of
        one step trains.
        """
        warmup = min(math.ceil(self.warmup_ratio * steps), steps - 1)
        if step < warmup:
            return self.learning_rate * step / warmup
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step - warmup) / (steps - warmup)
        if self.schedule == "linear":
            return self.learning_rate * (1 - progress)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimizer over `parameters`; those of torch in their fused form.

        Raises:
            UserError: It is one of bitsandbytes, which is not installed.
        """
        values = list(parameters)
        if self.optimizer not in ("adamw", "adam", "sgd"):
            return small_adamw(self.optimizer, values, self.learning_rate, self.betas, self.weight_decay)
        if self.optimizer == "sgd":
            return torch.optim.SGD(values, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        kind = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
        return kind(values, lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay, fused=True)
