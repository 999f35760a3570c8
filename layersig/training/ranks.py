"""LoRA ranks from a ranking of the layers, within the budget of equal ranks."""

from __future__ import annotations

from collections.abc import Sequence


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
