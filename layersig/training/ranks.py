"""LoRA ranks from a ranking of the layers, within the budget of equal ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layersig.errors import UserError
from layersig.layers import Layer

MOST = 4
"""Largest rank, in units of the mean: that of GoRA, arXiv 2502.12171, whose code has 32 for a mean of 8."""


def ranks_by_order(names: Sequence[str], mean: int) -> dict[str, int]:
    """Ranks that fall linearly down a ranking and add up to `mean` for each layer.

    Of n layers the one at place p, from 0, is due 1 + (mean - 1) * 2 (n - p - 1/2) / n: from nearly twice the mean to
    nearly 1. What rounding down leaves over goes to the largest remainders, the better placed first. Scores of
    different scorers have no common scale, so the order alone counts (ours).

    Args:
        names: Layers, the most important first.
        mean: Mean rank.
    """
    count = len(names)
    # In halves of a layer: exact, so that ties between remainders are ties.
    due = [count + (mean - 1) * (2 * (count - place) - 1) for place in range(count)]
    ranks = [each // count for each in due]
    left = mean * count - sum(ranks)
    for place in sorted(range(count), key=lambda place: (-(due[place] % count), place))[:left]:
        ranks[place] += 1
    return dict(zip(names, ranks, strict=True))


def ranks_by_share(scores: Mapping[str, float], units: Mapping[str, Sequence[Layer]], mean: int) -> dict[str, int]:
    """Ranks that give each unit parameters in proportion to its score, within the parameters of equal ranks.

    A unit whose layers have c parameters a rank is due the rank t s / c, cut to 1 and `MOST` times the mean, with t
    such that all of them together have the parameters of the mean rank everywhere. These are rounded down; what that
    leaves goes, a rank at a time, to the largest remainders whose unit still fits, the earlier unit first.

    GoRA (code read) divides by the root of out + in, rounds down, cuts at half the mean and at `MOST` times it, and
    keeps no budget. The proportion to a score is its idea, the rest is ours.

    Args:
        scores: Scores of units, none below 0.
        units: The chosen layers by unit.
        mean: Rank that every layer would have.

    Raises:
        UserError: A score is negative, or all are 0.
    """
    own = {name: scores[name] for name in units}
    least = min(own, key=own.__getitem__)
    if own[least] < 0 or not any(own.values()):
        raise UserError(
            f'train.ranks = "budget" gives parameters in proportion to scores, and {least} scores {own[least]:g}; take '
            'a scorer without negative scores, of which some are not 0, or ranks = "scores"'
        )
    costs = {name: sum(_cost(layer) for layer in layers) for name, layers in units.items()}
    budget = mean * sum(costs.values())

    def due(factor: float) -> dict[str, float]:
        return {name: min(max(1.0, factor * own[name] / costs[name]), float(MOST * mean)) for name in units}

    low, high = 0.0, MOST * mean * max(costs.values()) / min(score for score in own.values() if score > 0)
    for _ in range(200):
        factor = (low + high) / 2
        spent = sum(rank * costs[name] for name, rank in due(factor).items())
        low, high = (factor, high) if spent <= budget else (low, factor)
    wanted = due(low)
    # Where all are due the same, rounding must not cost them a rank.
    ranks = {name: int(rank + 1e-9) for name, rank in wanted.items()}
    left = budget - sum(rank * costs[name] for name, rank in ranks.items())
    for name in sorted(units, key=lambda name: round(ranks[name] - wanted[name], 9)):
        if costs[name] <= left and ranks[name] < MOST * mean:
            ranks[name] += 1
            left -= costs[name]
    return {layer.name: ranks[name] for name, layers in units.items() for layer in layers}


def _cost(layer: Layer) -> int:
    """Parameters of a layer's two factors of rank 1."""
    experts = layer.shape[0] if layer.is_parameter else 1
    return experts * (layer.shape[-2] + layer.shape[-1])
