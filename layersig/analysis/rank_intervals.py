"""Which ranks each arm may hold: simultaneous rank sets."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from layersig.analysis.multiplicity import holm
from layersig.analysis.results import FloatArray
from layersig.analysis.tables import Floor, mean_of

MIN_SEEDS_FOR_RANKS = 5


@dataclass(frozen=True, slots=True)
class RankInterval:
    """Ranks that an arm may hold; 1 is the best.

    Attributes:
        mean: Mean of the arm.
        best: Best rank in the set.
        worst: Worst rank in the set.
    """

    mean: float
    best: int
    worst: int


def rank_intervals_items_and_seeds(
    tables: FloatArray, alpha: float = 0.05, shares: FloatArray | None = None, floor: Floor | None = None
) -> tuple[RankInterval, ...]:
    """Simultaneous confidence sets for the ranks of arms.

    All pairs of arms are compared by the two-way random-effects t test with Holm's correction. An arm's best rank is
    one more than the number of arms that are certainly better; its worst rank leaves out those certainly worse. All
    sets hold together with probability 1 - alpha.

    Args:
        tables: Outcomes, shape (arms >= 2, seeds >= 5, items), higher is better.
        alpha: Family-wise error.
        shares: Share of each unit in the weight of all, see ``means.mean_items``.
        floor: ``Floor.DIFFERENCE`` where outcomes are right or wrong; without it, a pair of arms between which nothing
            varies is not told apart.

    Raises:
        ValueError: Fewer than five seeds (then only ranges over seeds can be shown), or fewer than two arms.

    Source:
        Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks". Deviation: Holm's correction of t tests in
        place of the bootstrapped maximum, which has nothing to resample with five seeds.
    """
    if tables.ndim != 3 or tables.shape[0] < 2 or tables.shape[1] < MIN_SEEDS_FOR_RANKS:
        raise ValueError(f"tables must have shape (arms >= 2, seeds >= 5, items), got {tables.shape}")
    arms = tables.shape[0]
    pairs = list(combinations(range(arms), 2))
    magnitude = float(np.abs(tables).max())
    estimates = [mean_of(tables[a] - tables[b], shares, floor, magnitude) for a, b in pairs]
    adjusted = holm(np.array([1.0 if estimate is None else estimate.p_value() for estimate in estimates]))
    better, worse = np.zeros(arms, dtype=np.int64), np.zeros(arms, dtype=np.int64)
    for (a, b), estimate, p in zip(pairs, estimates, adjusted, strict=True):
        if estimate is not None and p <= alpha:
            winner, loser = (a, b) if estimate.value > 0 else (b, a)
            better[loser] += 1
            worse[winner] += 1
    return tuple(
        RankInterval(float(tables[arm].mean()), 1 + int(better[arm]), arms - int(worse[arm])) for arm in range(arms)
    )
