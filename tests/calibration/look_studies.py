"""Declared looks: how often all looks together reject a true null, with the test of seeds and items that is used."""

import numpy as np

from layersig.analysis.looks import Look, Spending
from layersig.analysis.results import FloatArray
from layersig.analysis.twoway import mean_squares, two_way_estimate
from tests.calibration.report import Study, Table, at_most, percent

_ALPHA = 0.05
_ITEMS = 200
_DESIGNS = ((2, 5), (3, 5), (3, 6, 10))
_LOADS = ((0.0, 0.0), (5.0, 0.0), (1.0, 5.0))
"""Variance of seeds times items and of items times seeds of the last look, over the residual variance."""


def looks(reps: int, rng: np.random.Generator) -> Study:
    """Rejections at any look under both spending functions, and without a design."""
    rows, errors = [], []
    for runs in _DESIGNS:
        for loads in _LOADS:
            p = np.array([_p_values(rng, runs, loads) for _ in range(reps)])
            kept = [float((p <= _levels(runs, spending)).any(axis=1).mean()) for spending in Spending]
            errors += kept
            undeclared = float((p <= _ALPHA).any(axis=1).mean())
            rows.append((", ".join(map(str, runs)), f"{loads[0]:g}, {loads[1]:g}", *map(percent, (*kept, undeclared))))
    return Study(
        "Do declared looks keep the level?",
        f"Differences of two arms over seeds and {_ITEMS} items, true mean 0, normal; the two-way t test at each look. "
        "Loads: variance of seeds times items and of items times seeds, over the residual variance. The items are the "
        "same at every look.",
        (
            Table(
                "looks",
                "A true null is rejected at one look or more, nominal 5 %.",
                ("seeds at the looks", "seed, item load", "O'Brien-Fleming", "Pocock", "5 % at every look"),
                tuple(rows),
            ),
        ),
        (at_most("true nulls rejected at any declared look", errors, 0.065),),
    )


def _levels(runs: tuple[int, ...], spending: Spending) -> FloatArray:
    return np.array([Look(runs, number, spending).level(_ALPHA) for number in range(1, len(runs) + 1)])


def _p_values(rng: np.random.Generator, runs: tuple[int, ...], loads: tuple[float, float]) -> list[float]:
    """P-value of the test at every look at one study."""
    seeds = np.sqrt(loads[0] / _ITEMS) * rng.standard_normal((runs[-1], 1))
    items = np.sqrt(loads[1] / runs[-1]) * rng.standard_normal(_ITEMS)
    table = seeds + items + rng.standard_normal((runs[-1], _ITEMS))
    return [two_way_estimate(mean_squares(table[:count])).p_value() for count in runs]
