"""Which ranks each arm, or each layer, may hold: simultaneous rank sets."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from layersig.analysis.moderated import moderated_variances
from layersig.analysis.multiplicity import holm
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.results import BoolArray, FloatArray, IntArray
from layersig.analysis.tables import Floor, mean_of

MIN_SEEDS_FOR_RANKS = 5
_LEAST_VARIED = 0.5
"""Share of the pairs of layers whose distance has to differ between seeds before any two are told apart (ours)."""


@dataclass(frozen=True, slots=True)
class RankInterval:
    """Ranks that an arm or a layer may hold; 1 is the best.

    Attributes:
        mean: Its mean.
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
        shares: Share of each unit in the weight of all, see `means.mean_items`.
        floor: `Floor.DIFFERENCE` where outcomes are right or wrong; without it, a pair of arms between which nothing
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
    values = np.array([0.0 if estimate is None else estimate.value for estimate in estimates])
    first, second = np.array(pairs).T
    means = tables.mean(axis=(1, 2))
    return _rank_sets(means, first, second, values, adjusted <= alpha)


def rank_intervals_seeds(scores: FloatArray, alpha: float = 0.05) -> tuple[RankInterval, ...]:
    """Simultaneous confidence sets for the ranks of layers.

    All pairs of layers are compared over seeds, by t tests of the difference of their normal scores with Holm's
    correction. Few seeds know little of the variance of one difference, so each is drawn towards what all have in
    common (`layersig.analysis.moderated.moderated_variances`).

    Args:
        scores: Scores of the seeds, shape (seeds >= 5, N >= 2); higher is better.
        alpha: Family-wise error.

    Returns:
        The set of every layer, its mean being that of its normal scores. Where most pairs of layers keep their distance
        in every seed, the seeds are too much alike to tell how much another would differ, and no layer is set apart.

    Raises:
        ValueError: Fewer than five seeds, or fewer than two layers.

    Source:
        Mogstad, Romano, Shaikh and Wilhelm 2024, with the deviation of `rank_intervals_items_and_seeds`.
    """
    if scores.ndim != 2 or scores.shape[0] < MIN_SEEDS_FOR_RANKS or scores.shape[1] < 2:
        raise ValueError(f"scores must have shape (seeds >= 5, layers >= 2), got {scores.shape}")
    values = normal_scores(scores)
    seeds = len(values)
    first, second = np.triu_indices(values.shape[1], 1)
    differences = values[:, first] - values[:, second]
    mean, varied = differences.mean(axis=0), np.ptp(differences, axis=0) > 0
    apart = np.zeros(mean.size, dtype=np.bool_)
    if varied.mean() >= _LEAST_VARIED:
        error = moderated_variances(np.where(varied, differences.var(axis=0, ddof=1), 0.0), seeds - 1)
        apart = holm(2 * stats.t.sf(np.abs(mean) / np.sqrt(error.variances / seeds), error.df)) <= alpha
    return _rank_sets(values.mean(axis=0), first, second, mean, apart)


def _rank_sets(
    means: FloatArray, first: IntArray, second: IntArray, differences: FloatArray, apart: BoolArray
) -> tuple[RankInterval, ...]:
    """A set ends where others are certainly better or worse; `differences` are first minus second."""
    n = means.size
    better, worse = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    ahead = differences > 0
    np.add.at(better, np.where(ahead, second, first)[apart], 1)
    np.add.at(worse, np.where(ahead, first, second)[apart], 1)
    return tuple(
        RankInterval(float(mean), 1 + int(above), n - int(below))
        for mean, above, below in zip(means, better, worse, strict=True)
    )
