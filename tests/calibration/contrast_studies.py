"""Arms of different scorers against each other: shared reference training, items and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from layersig.findings.arms import Arms
from layersig.findings.families import DECLARED, Member, corrections
from layersig.findings.outcomes import Items, Measure, OutcomeTables
from layersig.findings.plan import Plan
from layersig.recipe.schema import ALL_LAYERS, BASE, Recipe
from layersig.records import Cell
from tests.calibration.report import Study, Table, at_most, percent

_SCORERS = ("ila", "mine", "random")
_PAIRS = tuple(combinations((f"{name}-30" for name in _SCORERS), 2))
_SPREAD = 2.0
"""Standard deviation of the difficulty of items: of a loss, and of right or wrong items in logits."""
_RUN, _NOISE = 0.2, 0.5


@dataclass(frozen=True, slots=True)
class _Design:
    """A study of three scorers whose arms are equally good.

    Attributes:
        seeds: Training runs per arm.
        items: Items of the task.
        shared: Share of the variance of runs that all arms of a seed have in common: their reference training, their
            data order.
        solved: Whether items are right or wrong; else they have a loss.
    """

    seeds: int
    items: int
    shared: float
    solved: bool


_DESIGNS = tuple(
    _Design(seeds, items, shared, solved)
    for solved in (False, True)
    for seeds, items in ((1, 200), (3, 200), (5, 200), (5, 40))
    for shared in (0.0, 0.8)
)


def contrasts(reps: int, rng: np.random.Generator) -> Study:
    """How often three declared contrasts between equally good scorers find a difference."""
    rows, errors = [], []
    for design in _DESIGNS:
        plan = Plan(_recipe(design), _cells(design))
        raw = family = 0
        for _ in range(reps):
            arms = Arms(_outcomes(design, rng), plan.recipe, plan, "m")
            p = [found.test(rng).p for found, role in arms.contrasts() if role == "contrast"]
            found = corrections([Member(DECLARED, each) for each in p])
            raw += sum(each is not None and each <= 0.05 for each in p)
            family += any(each is not None and each.p <= 0.05 for each in found)
        single, any_of = raw / (reps * len(_PAIRS)), family / reps
        errors.append(any_of)
        rows.append(
            (
                "right or wrong" if design.solved else "loss",
                str(design.seeds),
                str(design.items),
                f"{design.shared:.1f}",
                percent(single),
                percent(any_of),
            )
        )
    header = ("outcome", "seeds", "items", "shared variance of runs", "one contrast", "any of the three")
    return Study(
        "Scorers against each other",
        "Three arms of equal size, chosen by three scorers, are compared pairwise: three declared contrasts, corrected "
        "as one family. The arms are equally good. They share items and seeds, and of each seed the reference "
        "training, so that part of what varies between runs is common to all arms.",
        (Table("contrasts", "False findings at 5 %.", header, tuple(rows)),),
        (at_most("any of three contrasts between equal scorers is found", errors, 0.065),),
    )


def _recipe(design: _Design) -> Recipe:
    select = {"kind": "top", "fraction": 0.3}
    return Recipe.model_validate(
        {
            "name": "r",
            "seeds": tuple(range(design.seeds)),
            "model": {"source": "pypi:x"},
            "data": ({"name": "d", "source": "pypi:y"},),
            "scorers": {name: {"kind": "random"} for name in _SCORERS},
            "arms": tuple({"name": f"{name}-30", "scorer": name, "select": select} for name in _SCORERS),
            "analyze": {"primary": (), "contrasts": _PAIRS, "outcome": "t"},
        }
    )


def _cells(design: _Design) -> frozenset[Cell]:
    arms = (ALL_LAYERS, *(f"{name}-30" for name in _SCORERS))
    trained = (Cell(arm=arm, data="d", seed=seed) for arm in arms for seed in range(design.seeds))
    return frozenset((Cell(arm=BASE), *trained))


def _outcomes(design: _Design, rng: np.random.Generator) -> OutcomeTables:
    measure = Measure("t", "acc" if design.solved else "loss")
    difficulty = _SPREAD * rng.standard_normal(design.items)
    common = rng.standard_normal(design.seeds)
    # With one run the truth is that of the checkpoints, which do not differ.
    spread = _RUN if design.seeds > 1 else 0.0
    values = {}
    for cell in sorted(_cells(design), key=lambda cell: cell.key):
        own = rng.standard_normal()
        run = 0.0 if cell.seed is None else common[cell.seed]
        ability = spread * (design.shared**0.5 * run + (1 - design.shared) ** 0.5 * own)
        if design.solved:
            solved = rng.random(design.items) < 1 / (1 + np.exp(difficulty - ability))
            values[cell] = solved.astype(np.float64)
        else:
            values[cell] = difficulty - ability + _NOISE * rng.standard_normal(design.items)
    items = Items(tuple(map(str, range(design.items))), np.ones(design.items), None)
    return OutcomeTables({measure: items}, {measure: values}, ())
