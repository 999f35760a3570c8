"""Sweeps: whether the set of points that may be the best holds the best one, and how often a trend is seen in none."""

from itertools import product

import numpy as np

from layersig.analysis.curves import band, best_set, trend
from layersig.analysis.results import FloatArray
from layersig.analysis.tables import Floor
from tests.calibration.report import Study, Table, at_least, at_most, percent

_ITEMS = 60
_LOADS = (0.0, 10.0)
"""Variance of a training run's own effect, times the items, over that of a single outcome."""


def sweeps(reps: int, rng: np.random.Generator) -> Study:
    """Curves whose truth is known: flat, with a peak, and of right or wrong answers."""
    rows, held, trends, bands = [], list[float](), list[float](), list[float]()
    for seeds, points, load in product((1, 3, 5), (4, 8), _LOADS):
        if seeds == 1 and load > 0:  # one run a point says nothing of other runs
            continue
        counts = np.zeros(5)
        for _ in range(reps):
            flat = _curve(rng, np.zeros(points), seeds, load)
            counts[0] += best_set(flat)[0]
            found = trend(flat)
            counts[1] += found is not None and found.p_value() <= 0.05
            counts[2] += all(each is not None and each.contains(0.0) for each in band(flat))
            kept = best_set(_curve(rng, _peak(points), seeds, load))
            counts[3] += kept[points // 2]
            counts[4] += sum(kept)
        rates = (counts / reps).tolist()
        rows.append((str(seeds), str(points), f"{load:g}", *map(percent, rates[:4]), f"{rates[4]:.1f}"))
        held += [rates[0], rates[3]]
        trends.append(rates[1])
        bands.append(rates[2])
    binary, right = _binary(reps, rng)
    header = (
        "runs", "points", "load of runs", "set holds the best, flat", "trend in a flat curve", "band holds all",
        "set holds the best, peak", "points in the set, peak",
    )  # fmt: skip
    return Study(
        "Sweeps",
        f"Curves over {_ITEMS} items that all points share, with an effect of each item at each point and one of each "
        "training run; the load is the variance of the latter times the items. Flat: all points are equal, and the "
        "first stands for the best. Peak: a parabola whose ends are one standard deviation of an outcome lower.",
        (
            Table("sweeps", "Coverage of nominal 95 % sets and bands, rejections at nominal 5 %.", header, tuple(rows)),
            Table(
                "sweeps-binary",
                "Right or wrong answers, all points of equal truth.",
                ("runs", "points", "share right", "set holds the best", "trend"),
                binary,
            ),
        ),
        (
            at_least("set of points that may be the best", held, 0.93),
            at_least("set of points that may be the best, right or wrong answers", right, 0.94),
            at_most("trend in a flat curve", trends, 0.07),
            at_least("simultaneous band", bands, 0.93),
        ),
    )


def _curve(rng: np.random.Generator, means: FloatArray, seeds: int, load: float) -> FloatArray:
    """A curve over seeds and items, shape (points, seeds, items)."""
    points = means.size
    runs = np.sqrt(load / _ITEMS) * rng.standard_normal((points, seeds, 1))
    of_items = 0.5 * rng.standard_normal((points, 1, _ITEMS)) + rng.standard_normal(_ITEMS)
    outcomes: FloatArray = means[:, None, None] + runs + of_items + rng.standard_normal((points, seeds, _ITEMS))
    return outcomes


def _peak(points: int) -> FloatArray:
    middle = points // 2
    return -(((np.arange(points) - middle) / middle) ** 2)


def _binary(reps: int, rng: np.random.Generator) -> tuple[tuple[tuple[str, ...], ...], list[float]]:
    rows, held = [], []
    for seeds, points, share in product((1, 5), (4, 8), (0.5, 0.95)):
        counts = np.zeros(2)
        for _ in range(reps):
            ease = rng.beta(2 * share, 2 * (1 - share), _ITEMS)
            table = (rng.random((points, seeds, _ITEMS)) < ease).astype(np.float64)
            counts[0] += best_set(table, floor=Floor.DIFFERENCE)[0]
            found = trend(table, floor=Floor.DIFFERENCE)
            counts[1] += found is not None and found.p_value() <= 0.05
        rates = (counts / reps).tolist()
        rows.append((str(seeds), str(points), f"{share:g}", *map(percent, rates)))
        held.append(rates[0])
    return tuple(rows), held
