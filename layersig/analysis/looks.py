"""Tests that are repeated as runs are added: how often they err, and how a level is spent on declared looks."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from layersig.analysis.results import FloatArray

_NODES = 400
_FARTHEST = 9.0


def repeated_level(alpha: float, runs: Sequence[int]) -> float:
    """How often two-sided tests at `alpha`, one at every number of runs, reject a true null at least once.

    Args:
        alpha: Level of each test.
        runs: Number of runs at each look, ascending; later looks hold the runs of the earlier ones.

    Returns:
        The rate for statistics with a normal law.

    Raises:
        ValueError: The numbers do not ascend.

    Source:
        Armitage, McPherson and Rowe 1969, "Repeated significance tests on accumulating data".
    """
    bound = float(stats.norm.isf(alpha / 2))
    return float(_first_crossings(runs, [bound] * len(runs)).sum())


def _first_crossings(runs: Sequence[int], bounds: Sequence[float]) -> FloatArray:
    """Probability that |Z| first exceeds its bound at each look, by recursive integration over the sums of runs."""
    information = np.asarray(runs, np.float64)
    steps = np.diff(information, prepend=0.0)
    if not np.all(steps > 0):
        raise ValueError(f"looks are taken at growing numbers of runs, got {list(runs)}")
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    crossed = []
    # Mass at 0 before the first run.
    at, mass = np.zeros(1), np.ones(1)
    for total, step, bound in zip(information, steps, bounds, strict=True):
        end = min(bound, _FARTHEST) * np.sqrt(total)
        spread = np.sqrt(step)
        beyond = stats.norm.sf((end - at) / spread) + stats.norm.cdf((-end - at) / spread)
        crossed.append(float(mass @ beyond))
        inside = end * nodes
        density = mass @ stats.norm.pdf(inside[None, :], loc=at[:, None], scale=spread)
        at, mass = inside, density * end * weights
    return np.array(crossed)
