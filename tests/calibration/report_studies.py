"""Whole reports: how often one holds a false sentence, through the very functions that write `analysis.json`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from layersig.analysis.as_good import AsGood
from layersig.analysis.verdicts import Verdict
from layersig.findings.arms import Arms
from layersig.findings.claims import every_task_rows
from layersig.findings.conclusions import conclusions
from layersig.findings.contrasts import Contrast
from layersig.findings.outcomes import Items, Measure, OutcomeTables
from layersig.findings.plan import Plan
from layersig.findings.rows.arms import AssayRow, ComparisonRow
from layersig.findings.rows.claims import ClaimRow, EveryTaskRow
from layersig.recipe.schema import ALL_LAYERS, BASE, Recipe
from layersig.records import Cell
from tests.calibration.report import Study, Table, at_most, percent

TASKS = tuple(Measure(f"t{number}", "acc") for number in range(4))
_SCORED = ("a0", "a1", "a2", "a3")
_CONTROLS = {"a0.random": "matched-random", "a0.rule": "type-depth"}
_SPREAD = 2.0
"""Standard deviation of the difficulty of items, in logits."""


@dataclass(frozen=True, slots=True)
class Design:
    """A study whose six arms are all layers' equals; all layers differ from the untouched model by `gain`.

    Attributes:
        seeds: Training runs per arm.
        items: Items of each of the four tasks.
        run_sd: Standard deviation of the ability of runs, in logits; 0 with one run, whose claims are about itself.
        declared: Declared comparisons: three arms on one or on three data sets.
        gain: True gain of all layers, as a share of the items.
    """

    seeds: int
    items: int
    run_sd: float
    declared: int
    gain: float = 0.0

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return tuple(f"d{number}" for number in range(self.declared // 3))


@dataclass(frozen=True, slots=True)
class Told:
    """What one sentence says, for the truth to judge."""

    declared: bool
    marked: bool
    false: bool


_NULLS = tuple(
    Design(seeds, items, run_sd, declared)
    for seeds, items, run_sd in ((5, 300, 0.2), (1, 40, 0.0), (3, 300, 0.2))
    for declared in (3, 9)
)
_MOVED = (
    *(Design(1, 40, 0.0, 3, gain) for gain in (0.05, -0.05, 0.10, -0.10)),
    *(Design(3, 300, 0.2, 3, gain) for gain in (0.10, -0.10)),
)


def reports(reps: int, rng: np.random.Generator) -> Study:
    """Reports with a false sentence, where arms are equal."""
    rows, declared, unmarked = [], [], []
    for design in (*_NULLS, *_MOVED):
        repetitions = max(2, round(reps * (0.1 if design.gain else 0.3)))
        rates = _rates(design, repetitions, rng)
        rows.append(
            (
                str(design.seeds),
                str(design.items),
                f"{100 * design.gain:+.0f}" if design.gain else "0",
                str(design.declared),
                str(repetitions),
                *map(percent, rates),
            )
        )
        declared.append(rates[0])
        unmarked.append(rates[2])
    false = ("a false declared sentence", "a false exploratory sentence", "a false sentence without a mark")
    header = ("seeds", "items", "gain of all layers, points", "declared comparisons", "reports", *false)
    return Study(
        "Whole reports",
        "Six arms, among them a random and a rule control, all layers and the untouched model on four tasks of right "
        "or wrong items; three arms are declared on one or three data sets. The arms are all layers' equals. Every "
        "sentence of comparisons and claims is held against the truth, at a margin of one point. With one run "
        "the truth is that of the checkpoints, which do not differ; with several, that of the method, whose runs "
        "differ with .2 logits. The target allows for the Monte Carlo error of the worst row.",
        (Table("reports", "Reports with a false sentence.", header, tuple(rows)),),
        (
            at_most("a report holds a false declared sentence", declared, 0.065),
            at_most("a report holds a false sentence that is neither declared nor marked exploratory", unmarked, 0.0),
        ),
    )


def _rates(design: Design, repetitions: int, rng: np.random.Generator) -> list[float]:
    """Shares of reports with a false declared sentence, a false exploratory one, a false one without a mark."""
    counts = np.zeros(3)
    # What another size would give is the bulk of the work, and no part of any verdict.
    with patch.multiple(Contrast, detectable=_nothing, needed=_nothing, bootstrap=_nothing):
        for _ in range(repetitions):
            told = list(sentences(design, rng))
            counts += [
                any(each.false and each.declared for each in told),
                any(each.false and not each.declared for each in told),
                any(each.false and not each.marked for each in told),
            ]
    return [float(count) / repetitions for count in counts]


def _nothing(*_: object, **__: object) -> None:
    return None


def sentences(design: Design, rng: np.random.Generator) -> Iterator[Told]:
    """Every sentence of one simulated report."""
    arms = study_of(design, rng)
    found = conclusions(arms)
    rows: list[ComparisonRow | AssayRow | ClaimRow | EveryTaskRow] = [*found.comparisons, *arms.assays(), *found.claims]
    for row in (*rows, *every_task_rows(arms, found.claims)):
        told = str(row.sentence)
        declared = told.startswith("Declared: ")
        yield Told(declared, declared or told.startswith("Exploratory: "), _false(row, design.gain))


def study_of(design: Design, rng: np.random.Generator) -> Arms:
    """The arms of one simulated run, everything declared before it was measured."""
    select = {"kind": "top", "fraction": 0.3}
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "seeds": tuple(range(design.seeds)),
            "model": {"source": "pypi:x"},
            "data": tuple({"name": name, "source": "pypi:y"} for name in design.data),
            "scorers": {"s": {"kind": "ila"}},
            "arms": (
                *({"name": name, "scorer": "s", "select": select} for name in _SCORED),
                *({"name": name, "select": {"kind": kind, "like": "a0"}} for name, kind in _CONTROLS.items()),
            ),
            "analyze": {"primary": _SCORED[:3], "outcome": "t0", "resamples": 100},
        }
    )
    cells = [Cell(arm=BASE)]
    cells += [
        Cell(arm=arm, data=data, seed=seed)
        for arm in (ALL_LAYERS, *_SCORED, *_CONTROLS)
        for data in design.data
        for seed in range(design.seeds)
    ]
    shift = _shift(design.gain)
    values = {}
    for task in TASKS:
        difficulty = _SPREAD * rng.standard_normal(design.items)
        ability = design.run_sd * rng.standard_normal(len(cells)) + shift
        ability[0] = 0.0
        # Runs differ around the truth of their arm, which a mean over logits would move.
        solved = rng.random((len(cells), design.items)) < 1 / (1 + np.exp(difficulty - ability[:, None]))
        values[task] = dict(zip(cells, solved.astype(np.float64), strict=True))
    items = Items(tuple(map(str, range(design.items))), np.ones(design.items), None)
    outcomes = OutcomeTables(dict.fromkeys(TASKS, items), values, ())
    return Arms(outcomes, recipe, Plan(recipe, frozenset(cells)), "m")


def _shift(gain: float) -> float:
    """Logits that move the share of right items by `gain` from one half, items differing in difficulty."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    share = weights / weights.sum()
    steps = np.linspace(-3, 3, 6001)
    right = (share / (1 + np.exp(_SPREAD * nodes - steps[:, None]))).sum(axis=1)
    return float(np.interp(0.5 + gain, right, steps))


def _false(row: ComparisonRow | AssayRow | ClaimRow | EveryTaskRow, gain: float) -> bool:
    if isinstance(row, EveryTaskRow):
        return row.established and gain <= 0
    if isinstance(row, ClaimRow):
        # Equal arms keep all of a gain, and are neither worse than all layers nor better than a random set.
        if row.conclusion == AsGood.AS_GOOD:
            return gain <= 0
        return row.conclusion in (AsGood.KEEPS_BUT_WORSE, AsGood.AS_GOOD_AND_SELECTIVE)
    if isinstance(row, AssayRow):
        return "does not" in row.sentence or "cannot" in row.sentence  # what no interval shows
    if row.verdict is None or row.margin is None:
        return False
    return untrue(Verdict(row.verdict), -gain if row.arm == BASE else 0.0, row.margin)


def untrue(verdict: Verdict, truth: float, margin: float) -> bool:
    """Whether a verdict is wrong about a true difference, positive meaning better."""
    return {
        Verdict.BETTER_BY_MARGIN: truth <= margin,
        Verdict.BETTER_SIZE_UNSETTLED: truth <= 0,
        Verdict.BETTER_WITHIN_MARGIN: not 0 < truth < margin,
        Verdict.EQUIVALENT: abs(truth) >= margin,
        Verdict.NOT_WORSE: truth <= -margin,
        Verdict.NOT_BETTER: truth >= margin,
        Verdict.WORSE_WITHIN_MARGIN: not -margin < truth < 0,
        Verdict.WORSE_SIZE_UNSETTLED: truth >= 0,
        Verdict.WORSE_BY_MARGIN: truth >= -margin,
    }.get(verdict, False)
