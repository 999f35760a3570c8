"""Rankings that ignore the model's weights: by place, and at random. They are the controls of every other scorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from layersig.plugin.decorators import scorer

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("random", needs=(), seeded=True, version=1)
class Random:
    """A uniformly random ranking; every seed draws its own. RL of arXiv 2410.17875, table 8, which had two draws."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Independent uniform scores."""
        draws = context.stream("random-scores").random(len(context.layers))
        return dict(zip(context.layers, draws.tolist(), strict=True))


@scorer("first-k", needs=(), version=1)
class FirstK:
    """The earlier a unit in the forward pass, the higher its score. FL of arXiv 2410.17875, table 8."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Minus the position, from 0."""
        return _by_rule(context, "first-k")


@scorer("last-k", needs=(), version=1)
class LastK:
    """The later a unit in the forward pass, the higher its score. LL of arXiv 2410.17875, table 8."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """The position, from 0."""
        return _by_rule(context, "last-k")


@scorer("middle", needs=(), version=1)
class Middle:
    """The nearer a unit to the middle of the forward pass, the higher its score.

    The rule that arXiv 2607.01232 (a note read) reports to beat tuning everything, and that arXiv 2604.11838 (code
    read) takes in five equal segments. The control of `layer-contribution`.
    """

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Minus the distance from the middle; of two units at the same distance the earlier scores higher."""
        return _by_rule(context, "middle")


@scorer("ends", needs=(), version=1)
class Ends:
    """The last unit first, then from the earliest on: the top k are the first k - 1 units and the last.

    15 of the 16 blocks in each of two published selections by CKA (arXiv 2602.05988, code read) follow this rule. The
    control of `cka`.
    """

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Minus the position, from 0; 1 for the last unit."""
        return _by_rule(context, "ends")


def _by_rule(context: ScoringContext, rule: str) -> dict[str, float]:
    from layersig.analysis.positions import RULES  # not above: this module is read to know the kinds of scorers

    return dict(zip(context.layers, RULES[rule](len(context.layers)).tolist(), strict=True))
