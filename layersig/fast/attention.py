"""Attention functions of layersig in transformers models: registered by name, without a mask, and used for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel


def register(name: str, attention: Callable[..., tuple[Tensor, None]]) -> None:
    """Register an attention function under a name.

    There is no mask function of that name, so that transformers neither builds a mask nor looks at positions for
    sequences that share a row, which on a GPU would wait for the device in every pass.
    """
    AttentionInterface.register(name, attention)


@contextmanager
def attending(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Within this context the model computes with the attention registered under that name."""
    own = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def window_of(config: PretrainedConfig) -> int | None:
    """Tokens that a query of the layers with a sliding window sees, itself included; None where no layer has one.

    Some architectures, Qwen2-MoE among them, write 0 for none.
    """
    return getattr(config, "sliding_window", None) or None


def scale_of(query: Tensor, scaling: float | None, options: Mapping[str, Any]) -> float:
    """Factor of the scores.

    Raises:
        NotImplementedError: The model asks for more than scaled products.
    """
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"this attention does not support {', '.join(unknown)}")
    return float(query.shape[-1] ** -0.5) if scaling is None else scaling
