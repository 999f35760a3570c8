"""Rankings that ignore the model's weights: by place, and at random. They are the controls of every other scorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("random", needs=(), seeded=True, version=1)
class Random:
    """A uniformly random ranking; every seed draws its own (RL of arXiv 2410.17875, table 8, which had two draws)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Independent uniform scores."""
        draws = context.stream("random-scores").random(len(context.layers))
        return dict(zip(context.layers, draws.tolist(), strict=True))


@scorer("first-k", needs=(), version=1)
class FirstK:
    """The earlier a unit in the forward pass, the higher (FL of arXiv 2410.17875, table 8)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Minus the position, from 0."""
        return {name: -float(position) for position, name in enumerate(context.layers)}


@scorer("last-k", needs=(), version=1)
class LastK:
    """The later a unit in the forward pass, the higher (LL of arXiv 2410.17875, table 8)."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """The position, from 0."""
        return {name: float(position) for position, name in enumerate(context.layers)}
