"""Pseudo-items: what keeps an error above 0 where right and wrong items happen not to vary.

Forty items that are all right have an observed error of 0, and say with 95 % confidence that nine in ten or more are.
A few items of every kind that there is, added before the mean and its error are taken, give intervals that hold there
and change little elsewhere. One set of them serves each kind of quantity, with one run or with several, and with
clusters, where a pseudo-item is a cluster of average weight that is alike in every run.

Source:
    Agresti and Coull 1998, "Approximate is better than exact for interval estimation of binomial proportions" (levels);
    Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data" (differences). The ratios are ours, by the same rule: every pair of outcomes once.
"""

import numpy as np

from layersig.analysis.results import FloatArray

LEVEL: FloatArray = np.array([0.0, 0.0, 1.0, 1.0])
"""For the share of right items of one arm: two wrong and two right ones."""

DIFFERENCE: FloatArray = np.array([1.0, -1.0])
"""For the difference of two arms: an item that only the first solves, and one that only the second does. For a
difference of two such differences: an item by which the first is larger, and one by which the second is."""

RATIO_OF_LEVELS: FloatArray = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
"""For the ratio of two arms (numerator, denominator): every pair of outcomes."""

RATIO_OF_DIFFERENCES: FloatArray = np.array([[0.0, 1.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
"""For the ratio of two differences from one reference: four items on which every two of the three arms have every pair
of outcomes."""


def with_items(table: FloatArray, added: FloatArray) -> FloatArray:
    """The table with pseudo-items behind its units.

    Args:
        table: Unit values, shape (..., units).
        added: Values of the pseudo-items, shape (pseudo-items,).

    Returns:
        Shape (..., units + pseudo-items).
    """
    return np.concatenate([table, np.broadcast_to(added, (*table.shape[:-1], added.size))], axis=-1)


def with_shares(shares: FloatArray | None, added: int) -> FloatArray | None:
    """Shares of the weight of all units, pseudo-items of average weight behind them; None stays None (all equal)."""
    if shares is None:
        return None
    return np.append(shares * shares.size, np.ones(added)) / (shares.size + added)
