"""The shapes of a model: what a token costs in each block, and what weights and adapters take; no weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.layers import Layer, LayerMap


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a plan asks of a model.

    Attributes:
        layers: The linear layers of its blocks.
        stored: All of its weights; a tied head counts once.
        hidden: Width of the hidden state.
        vocabulary: Rows of the output head.
        inner: Numbers that a block makes of one token: outputs of its linear layers, experts that are not asked left
            out.
        used: Share of every layer's weights that one token meets: below 1 for experts alone.
        queries: Numbers that the queries of a token consist of, in all blocks, for the cost of attention.
        cached: Numbers that the keys and values of a token consist of, in all blocks.
    """

    layers: LayerMap
    stored: int
    hidden: int
    vocabulary: int
    inner: int
    used: Mapping[str, float]
    queries: int
    cached: int

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.layers.blocks)

    @property
    def products(self) -> float:
        """Multiplications of a token in all blocks."""
        return sum(layer.parameters * self.used[layer.name] for layer in self.layers)

    @property
    def head(self) -> int:
        """Multiplications of a token whose logits are wanted."""
        return self.hidden * self.vocabulary

    @property
    def pair_cost(self) -> float:
        """Cost of a query-key pair in units of a token through the linear layers, see `Decoder.pair_cost`."""
        from layersig.fast.profile import ATTENTION_SLOWNESS

        weights = max(1, self.stored - self.head)
        return ATTENTION_SLOWNESS * 4 * self.queries / (2 * weights)


def shapes(path: Path) -> Shapes:
    """The shapes of the model in a folder, from its configuration.

    Raises:
        UserError: As `model_of_configuration` and `layer_map`.
    """
    from layersig.models.config import attention_widths
    from layersig.models.layermap import layer_map, model_of_configuration

    model = model_of_configuration(path)
    layers = layer_map(model)
    config: Any = model.config.get_text_config(decoder=True)
    asked = getattr(config, "num_experts_per_tok", None)
    used = {layer.name: _used(layer, asked) for layer in layers}
    first = [layer for layer in layers if layer.block == 0]
    return Shapes(
        layers,
        sum(parameter.numel() for parameter in model.parameters()),
        config.hidden_size,
        config.vocab_size,
        int(sum(layer.shape[-2] * max(1.0, asked or 1.0) ** (len(layer.shape) > 2) for layer in first)),
        used,
        *attention_widths(config),
    )


def _used(layer: Layer, asked: int | None) -> float:
    return min(1.0, asked / layer.shape[0]) if asked and len(layer.shape) > 2 else 1.0
