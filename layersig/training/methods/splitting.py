"""Which trainings can run on a model that is split among processes."""

from __future__ import annotations

from layersig.errors import UserError
from layersig.recipe.schema import TrainSettings

_METHODS = ("lora", "rslora", "adalora", "full")
"""Those that need no whole weight of a layer."""
_PLAIN = ("adamw",)
"""Optimizers that move split weights."""


def check_split(settings: TrainSettings, *, checkpoint: bool) -> None:
    """Refuse a training that needs whole weights.

    Args:
        settings: The training.
        checkpoint: Whether weights themselves are trained.

    Raises:
        UserError: It cannot run on a split model.
    """
    if settings.method not in _METHODS:
        raise UserError(
            f'train.method = "{settings.method}" reads whole weights, which no process has under --shard; use one of '
            f"{', '.join(_METHODS)}, or leave --shard away"
        )
    if checkpoint and settings.optimizer not in _PLAIN:
        raise UserError(
            f'train.optimizer = "{settings.optimizer}" cannot move weights that are split under --shard; use '
            f"{_PLAIN[0]}, or leave --shard away"
        )
    if checkpoint and settings.resample is not None:
        raise UserError(
            "train.resample lets whole weights take turns, which --shard cannot; train factors, or leave one of the "
            "two away"
        )
