"""What a report says in words: every sentence against its numbers, and all of them against each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from layersig.analysis.as_good import AsGood
from layersig.analysis.verdicts import Verdict
from layersig.findings.arms import Arms
from layersig.findings.claims import every_task_rows
from layersig.findings.conclusions import conclusions
from layersig.findings.contrasts import Contrast
from layersig.findings.controls import control_set_rows
from layersig.findings.outcomes import Items, Measure, OutcomeTables
from layersig.findings.plan import Plan
from layersig.findings.rows.arms import COMPARISONS, ComparisonRow
from layersig.records import Cell
from layersig.topics.analyse import analyse
from layersig.topics.render import render
from tests.findings.recipes import FEW, recipe_of
from tests.report.studies import Study
from tests.report.synthetic import write_run

FIGURES = re.compile(
    r"difference (?P<value>[-+]\S+) (?P<unit>.+?), (?P<level>\S+) % interval (?P<low>\S+) to "
    r"(?P<high>[-+]\d[\d.e+-]*?)[.,]?(?= |$)"
)
P = re.compile(r"p (?P<sign>[=<]) (?P<p>[\d.e-]+) for no difference")
PHRASES = (" is better than ", " is worse than ", " are equivalent ", " is not worse than ", " is not better than ",
           " as good as all layers", "undecided between", "no difference ")  # fmt: skip


def arms_of(gain: float, arm: float, *, seeds: int, n: int, metric: str, sets: int = 1, noise: float = 0.2) -> Arms:
    """All layers gain `gain` over the base, the arm `arm`, its random controls half as much; two tasks, of which one is
    the outcome, and a second metric of it."""
    controls = [
        {"name": f"r{draw}", "select": {"kind": "matched-random", "like": "few", "draw": draw}} for draw in range(sets)
    ]
    other = {"name": "other", "scorer": "ila", "select": {"kind": "top", "fraction": 0.5}}
    analyze = {"outcome": "t0", "primary": ("few", "other"), "resamples": 100}
    recipe = recipe_of(FEW, other, *controls, seeds=tuple(range(seeds)), analyze=analyze)
    rng, sign = np.random.default_rng(n + seeds), -1.0 if metric == "loss" else 1.0
    true = {"base": 0.0, "all-layers": gain, "few": arm, "other": gain, **{f"r{draw}": arm / 2 for draw in range(sets)}}
    cells = {
        Cell(arm=name) if name == "base" else Cell(arm=name, data="d", seed=seed): value
        for name, value in true.items()
        for seed in range(1 if name == "base" else seeds)
    }
    values: dict[Measure, dict[Cell, np.ndarray]] = {}
    for measure in (Measure("t0", metric), Measure("t1", metric), Measure("t0", "zeta")):
        items = rng.normal(0.5, 0.3, size=n)
        values[measure] = {}
        for cell, value in cells.items():
            drawn = items + sign * (value + 0.2 * noise * rng.normal()) + noise * rng.normal(size=n)
            right = (items + value + noise * rng.normal(size=n) > 0.5).astype(float)
            values[measure][cell] = right if measure.metric == "acc" else drawn
    names = Items(tuple(map(str, range(n))), np.ones(n), None)
    return Arms(OutcomeTables(dict.fromkeys(values, names), values, ()), recipe, Plan(recipe, frozenset(cells)), "m")


# The one point of the grid where an arm is shown to be as good on every benchmark.
ON_EVERY = (0.4, 0.4 + 0.03, 1, 300, "acc")
GRID = [
    pytest.param(*point, marks=[pytest.mark.slow] * (n == 300 and point != ON_EVERY))
    for gain, beside, (seeds, n, metric) in product(
        (-0.18, 0.0, 0.05, 0.4),
        (-0.3, -0.02, 0.0, 0.03),
        ((1, 40, "acc"), (1, 300, "acc"), (1, 120, "loss"), (3, 60, "acc"), (5, 40, "loss")),
    )
    for point in [(gain, gain + beside, seeds, n, metric)]
]


@pytest.fixture(autouse=True)
def _no_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another size would give takes most of the time, and no part in any sentence's claim."""
    for name in ("detectable", "needed", "bootstrap"):
        monkeypatch.setattr(Contrast, name, lambda *_, **__: None)


@pytest.mark.parametrize(("gain", "arm", "seeds", "n", "metric"), GRID)
def test_no_two_sentences_of_a_report_contradict_each_other(
    gain: float, arm: float, seeds: int, n: int, metric: str
) -> None:
    arms = arms_of(gain, arm, seeds=seeds, n=n, metric=metric, sets=19 if seeds == 1 and n == 120 else 1)
    claims = tuple(conclusions(arms).claims)
    every, controls = tuple(every_task_rows(arms, claims)), tuple(control_set_rows(arms))
    said = {(row.arm, row.reference, row.task, row.metric): row for row in conclusions(arms).comparisons}
    assert claims
    assert any(row.established for row in every) == ((gain, arm, seeds, n, metric) == ON_EVERY)
    for claim in claims:
        good = claim.conclusion in (AsGood.AS_GOOD, AsGood.AS_GOOD_AND_SELECTIVE)
        beside = verdict_of(said[claim.arm, "all-layers", claim.task, claim.metric])
        against = verdict_of(said[claim.arm, "r0", claim.task, claim.metric])
        assert not (good and beside.worse)
        assert ("is as good as all layers" in claim.sentence) == good
        if claim.conclusion == AsGood.AS_GOOD_AND_SELECTIVE:
            assert against.better or against.open or against is Verdict.NOT_WORSE
            assert claim.control_sets >= 19 or seeds >= 3
        assert claim.declared == (claim.task == "t0")
    for row in every:
        singles = [claim.conclusion for claim in claims if claim.arm == row.arm]
        assert ("is as good as all layers" in row.sentence) == row.established
        assert not row.established or all(each in (AsGood.AS_GOOD, AsGood.AS_GOOD_AND_SELECTIVE) for each in singles)
    sentences = [
        str(row.sentence) for row in (*conclusions(arms).comparisons, *arms.assays(), *claims, *every, *controls)
    ]
    assert all(sentence.startswith(("Declared: ", "Exploratory: ")) for sentence in sentences)
    assert not any("does not move" in sentence or "cannot" in sentence for sentence in sentences)


def verdict_of(row: ComparisonRow) -> Verdict:
    return Verdict(str(row.verdict))


@pytest.mark.parametrize(("gain", "arm", "seeds", "n", "metric"), GRID[::3])
def test_every_sentence_states_the_numbers_of_its_row(gain: float, arm: float, seeds: int, n: int, metric: str) -> None:
    for row in conclusions(arms_of(gain, arm, seeds=seeds, n=n, metric=metric)).comparisons:
        check(row)


def check(row: ComparisonRow) -> None:
    sentence, scale = str(row.sentence), 100.0 if row.metric == "acc" else 1.0
    shown = FIGURES.search(sentence)
    assert shown is not None
    assert None not in (row.stated_low, row.stated_high, row.stated_level)
    assert float(shown["value"]) == pytest.approx(scale * row.estimate, rel=6e-3, abs=1e-9)
    ends = (scale * float(row.stated_low or 0), scale * float(row.stated_high or 0))
    assert (float(shown["low"]), float(shown["high"])) == pytest.approx(ends, rel=6e-3, abs=1e-9)
    assert float(shown["level"]) == pytest.approx(100 * float(row.stated_level or 0), rel=1e-3)
    assert sentence.startswith("Declared: " if row.declared else "Exploratory: ")
    assert (row.family == "declared") == row.declared
    if row.verdict is None:
        assert not any(phrase in sentence for phrase in PHRASES)
        return
    p, verdict = P.search(sentence), verdict_of(row)
    assert p is not None
    assert row.adjusted_p is not None
    assert row.adjusted_p < 0.001 if p["sign"] == "<" else float(p["p"]) == pytest.approx(row.adjusted_p, rel=6e-3)
    better = row.estimate if row.higher_is_better else -row.estimate
    assert not verdict.better or (better > 0 and row.adjusted_p <= 0.05)
    assert not verdict.worse or (better < 0 and row.adjusted_p <= 0.05)
    assert (" is better than " in sentence) == verdict.better
    assert (" is worse than " in sentence) == verdict.worse


def test_a_secondary_metric_of_the_outcome_is_neither_declared_nor_judged() -> None:
    rows = [
        row for row in conclusions(arms_of(0.4, 0.1, seeds=1, n=120, metric="acc")).comparisons if row.metric == "zeta"
    ]
    assert rows
    assert all((row.declared, row.family, row.verdict) == (False, None, None) for row in rows)
    assert all(row.outcome for row in rows if row.task == "t0")


def test_a_declared_comparison_without_a_test_still_counts_in_its_family() -> None:
    arms = arms_of(0.4, 0.1, seeds=1, n=1, metric="acc")
    rows = [row for row in conclusions(arms).comparisons if row.declared]
    assert [(row.family, row.family_size, row.adjusted_p, row.verdict) for row in rows] == 2 * [
        ("declared", 3, None, None)  # with the claim of their arm
    ]


@pytest.mark.parametrize(("kept", "conclusion"), [(0.5, "is worse than all layers"), (0.99, "not shown")])
def test_what_share_must_be_kept_is_the_recipes_choice(kept: float, conclusion: str) -> None:
    arms = arms_of(0.4, 0.36, seeds=1, n=400, metric="loss", noise=0.02)
    analyze = arms.recipe.analyze.model_copy(update={"gain_kept": kept})
    recipe = arms.recipe.model_copy(update={"analyze": analyze})
    arms = Arms(arms.outcomes, recipe, Plan(recipe, arms.plan.declared_cells), "m")
    row = next(row for row in conclusions(arms).claims if row.task == "t0")
    assert row.required == kept
    assert f"at least {100 * kept:.3g} % of the gain of all layers" in row.sentence
    assert conclusion in row.conclusion


@pytest.mark.parametrize(("margin", "conclusion"), [(0.05, AsGood.KEEPS_BUT_WORSE), (0.3, AsGood.NOT_TESTED)])
def test_a_declared_margin_must_be_well_below_the_gain(margin: float, conclusion: AsGood) -> None:
    arms = arms_of(0.4, 0.39, seeds=1, n=400, metric="loss", noise=0.01)
    analyze = arms.recipe.analyze.model_copy(update={"gain_kept": "margin", "margins": {"loss": margin}})
    recipe = arms.recipe.model_copy(update={"analyze": analyze})
    arms = Arms(arms.outcomes, recipe, Plan(recipe, arms.plan.declared_cells), "m")
    row = next(row for row in conclusions(arms).claims if row.task == "t0")
    assert (row.required, row.margin, row.conclusion) == (None, 2 * margin, conclusion)


def lines(page: Path) -> Iterator[str]:
    for line in page.read_text(encoding="utf-8").splitlines():
        yield re.sub(r"[*\\`]", "", line).strip()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_report_says_nothing_of_arms_without_its_status(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    study = Study(blocks=4, data=("alpaca",), seeds=seeds, tasks=(("arc_easy", 30), ("hellaswag", 40)), heldout=12,
                  steps=6)  # fmt: skip
    run = tmp_path / "run"
    findings = analyse(run, write_run(run, study))
    render(run)
    told = [line.removeprefix("- ") for line in lines(run / "report.md") if line.startswith("- ")]
    verdicts = [line for line in told if any(phrase in line for phrase in PHRASES)]
    assert len(verdicts) >= 5
    assert all(line.startswith(("Declared: ", "Exploratory: ")) for line in verdicts)
    declared = [str(row.sentence) for row in findings[COMPARISONS] if row.declared]
    assert declared
    assert all(any(sentence in line for line in told) for sentence in declared)
    # One sentence a task for what stays open, however many arms there are.
    assert max(sum("no difference from" in line and f"of {task}," in line for line in told) for task in
               ("arc_easy", "hellaswag")) <= 3  # fmt: skip


def test_one_seed_is_said_where_layers_are_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    analyse(run, write_run(run, Study(blocks=4, data=("alpaca",), seeds=(0,), tasks=(), heldout=8, steps=6)))
    render(run)
    assert "Whether another run would choose the same layers is unknown" in (run / "report.md").read_text()
