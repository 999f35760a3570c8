from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.looks import Look
from layersig.analysis.paired import PairedShares
from layersig.findings.arms import Arms
from layersig.findings.conclusions import conclusions
from layersig.findings.contrasts import contrast
from layersig.findings.outcomes import Measure, OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.findings.rows.arms import ComparisonRow
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome
from tests.findings.recipes import FEW, recipe_of

RECIPE = recipe_of(FEW, {"name": "control", "select": {"kind": "matched-random", "like": "few"}}, seeds=(0, 1, 2))
PLAN = Plan(RECIPE, frozenset())
ARMS = ("all-layers", "few", "control")


def outcomes(values: dict[Cell, np.ndarray], metric: str = "acc") -> OutcomeTables:
    return outcome_tables(
        (cell, [Outcome("t", str(i), metric, float(value)) for i, value in enumerate(vector)])
        for cell, vector in values.items()
    )


def binary(seeds: tuple[int, ...], n: int = 60, base: float = 0.6) -> dict[Cell, np.ndarray]:
    rng = np.random.default_rng(11)
    cells = [Cell(arm="base"), *(Cell(arm=arm, data="d", seed=seed) for arm, seed in product(ARMS, seeds))]
    return {cell: (rng.uniform(size=n) < (base if cell.arm == "base" else 0.6)).astype(float) for cell in cells}


def find(rows: list[ComparisonRow], arm: str, role: str) -> ComparisonRow:
    (row,) = [row for row in rows if (row.arm, row.role) == (arm, role)]
    return row


def test_one_run_is_compared_by_item_and_speaks_for_checkpoints_only() -> None:
    values = binary((0,))
    rows = list(conclusions(Arms(outcomes(values), RECIPE, PLAN, "m")).comparisons)
    row = find(rows, "few", "baseline")
    a, b = values[Cell(arm="few", data="d", seed=0)], values[Cell(arm="all-layers", data="d", seed=0)]
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    assert row.scope == "checkpoints"
    assert row.estimate == pytest.approx(float(np.mean(a - b)))
    interval = PairedShares(only_a, only_b, a.size).interval(0.95)
    assert (row.low, row.high) == (interval.low, interval.high)
    assert row.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert "McNemar" in row.test
    assert "as checkpoints" in str(row.sentence)
    assert not any(r.scope == "method" for r in rows)


def test_several_runs_are_compared_over_seeds_and_items() -> None:
    values = binary((0, 1, 2))
    values[Cell(arm="few", data="d", seed=1)][:25] = 1.0
    row = find(list(conclusions(Arms(outcomes(values), RECIPE, PLAN, "m")).comparisons), "few", "baseline")
    d = np.stack([values[Cell("few", None, "d", s)] - values[Cell("all-layers", None, "d", s)] for s in range(3)])
    d = np.append(d, np.tile([1.0, -1.0], (3, 1)), axis=1)  # a win and a loss, as Bonett and Price add them
    s, n = d.shape
    rest = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    ms_seed, ms_item = n * d.mean(1).var(ddof=1), s * d.mean(0).var(ddof=1)
    ms_rest = (rest**2).sum() / ((s - 1) * (n - 1))
    assert ms_seed > ms_rest
    assert row.scope == "method"
    assert row.seeds == 3
    assert row.se == pytest.approx(float(np.sqrt((ms_seed + ms_item - ms_rest) / (s * n))))


def test_a_dozen_items_that_agree_make_no_arms_equivalent() -> None:
    agree = {cell: np.arange(12) % 2.0 for cell in binary((0, 1))}
    row = find(list(conclusions(Arms(outcomes(agree), RECIPE, PLAN, "m")).comparisons), "base", "baseline")
    assert (row.estimate, row.verdict) == (0, "undecided")
    assert str(row.sentence).startswith("Exploratory: undecided between base and all-layers")
    assert row.low is not None
    assert row.low < -0.1
    many = {cell: np.arange(5_000) % 2.0 for cell in agree}
    row = find(list(conclusions(Arms(outcomes(many), RECIPE, PLAN, "m")).comparisons), "base", "baseline")
    assert row.verdict == "equivalent"


def test_a_handful_of_items_is_no_better_than_their_exact_test_says() -> None:
    values = {cell: np.full(4, float(cell.arm == "all-layers")) for cell in binary((0,))}
    row = find(list(conclusions(Arms(outcomes(values), RECIPE, PLAN, "m")).comparisons), "base", "baseline")
    assert (row.estimate, row.p, row.verdict) == (-1, 0.125, "not better by more than the margin")


def test_the_random_control_is_the_arm_that_is_like_it() -> None:
    rows = list(conclusions(Arms(outcomes(binary((0,))), RECIPE, PLAN, "m")).comparisons)
    assert {(row.arm, row.reference, row.role) for row in rows} == {
        ("base", "all-layers", "baseline"),
        ("few", "all-layers", "baseline"),
        ("few", "control", "random control"),
        ("control", "all-layers", "baseline"),
    }


def test_only_seeds_that_both_arms_have_are_paired() -> None:
    values = binary((0, 1, 2))
    del values[Cell(arm="few", data="d", seed=1)]
    tables = outcomes(values)
    found = contrast(tables, Measure("t", "acc"), "d", "few", "all-layers")
    assert found is not None
    assert found.seeds == (0, 2)
    only = {cell: v for cell, v in values.items() if cell.arm != "few" or cell.seed == 0}
    only = {cell: v for cell, v in only.items() if cell.arm != "all-layers" or cell.seed == 2}
    assert contrast(outcomes(only), Measure("t", "acc"), "d", "few", "all-layers") is None


def test_share_of_the_gain_is_a_ratio_of_averages() -> None:
    values = binary((0,), base=0.3)
    shares = {row.arm: row for row in Arms(outcomes(values), RECIPE, PLAN, "m").shares()}
    base = values[Cell(arm="base")].mean()
    gains = {arm: values[Cell(arm=arm, data="d", seed=0)].mean() - base for arm in ARMS}
    assert shares["few"].share == pytest.approx(gains["few"] / gains["all-layers"])
    assert set(shares) == {"few", "control"}


@pytest.mark.parametrize(("metric", "gains"), [("acc", True), ("loss", False)])
def test_where_all_layers_do_harm_nothing_is_a_share_of_it(metric: str, gains: bool) -> None:
    values = binary((0, 1, 2), base=0.3)
    assert all(
        values[Cell("all-layers", None, "d", seed)].mean() > values[Cell(arm="base")].mean() for seed in range(3)
    )
    assert bool(list(Arms(outcomes(values, metric), RECIPE, PLAN, "m").shares())) is gains


def test_no_arm_is_called_the_same_where_all_layers_are_not_shown_to_move_the_base() -> None:
    values = {cell: np.arange(100_000) % 2.0 for cell in binary((0, 1, 2))}
    arms = Arms(outcomes(values), RECIPE, PLAN, "m")
    row, (assay,) = find(list(conclusions(arms).comparisons), "few", "baseline"), arms.assays()
    assert row.verdict == "undecided: all layers are not shown to move the untouched model"
    assert "nothing is called the same" in str(row.sentence)
    assert (assay.gain, assay.moved) == (0, "interval reaches within the margin")
    assert "not shown to gain or lose more than the margin of 1 points" in assay.sentence


@pytest.mark.parametrize("absent", ["base", "all-layers"])
def test_no_arm_is_called_the_same_where_it_is_not_known_whether_all_layers_move_the_base(absent: str) -> None:
    values = {cell: np.arange(4_000) % 2.0 for cell in binary((0, 1, 2)) if cell.arm != absent}
    row = find(list(conclusions(Arms(outcomes(values), RECIPE, PLAN, "m")).comparisons), "few", "random control")
    assert row.verdict == "undecided: all layers are not shown to move the untouched model"


@pytest.mark.parametrize(("measured", "said"), [(True, "undecided"), (False, "equivalent")])
def test_pruned_arms_are_judged_by_all_layers_where_they_are_measured(measured: bool, said: str) -> None:
    arms = [{**FEW, "action": "prune"}, {"name": "control", "select": {"kind": "matched-random", "like": "few"}}]
    recipe = recipe_of(*arms, seeds=(0, 1, 2))
    values = {cell: np.arange(4_000) % 2.0 for cell in binary((0, 1, 2)) if measured or cell.arm != "all-layers"}
    rows = list(conclusions(Arms(outcomes(values), recipe, Plan(recipe, frozenset()), "m")).comparisons)
    assert str(find(rows, "few", "random control").verdict).startswith(said)


def test_a_missing_run_leaves_the_share_of_the_others() -> None:
    values = binary((0, 1, 2), base=0.3)
    del values[Cell(arm="few", data="d", seed=1)]
    kept = {cell: value for cell, value in values.items() if cell.seed != 1}
    missing, without = (Arms(outcomes(each), RECIPE, PLAN, "m") for each in (values, kept))
    (share,) = [row for row in missing.shares() if row.arm == "few"]
    (same,) = [row for row in without.shares() if row.arm == "few"]
    assert (share.share, share.seeds) == (pytest.approx(same.share), 2)
    (claim,) = [row for row in conclusions(missing).claims if row.arm == "few"]
    (alone,) = [row for row in conclusions(without).claims if row.arm == "few"]
    assert (claim.seeds, claim.as_good_p) == (2, pytest.approx(alone.as_good_p))
    assert "S = 2" in claim.sentence


def test_a_lower_loss_is_the_better_one() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(2, 0.1, size=50)
    values = {Cell(arm="base"): base}
    for arm, gain in zip(ARMS, (0.5, 0.3, 0.1), strict=True):
        values[Cell(arm=arm, data="d", seed=0)] = base - gain + 0.001 * rng.normal(size=50)
    rows = list(conclusions(Arms(outcomes(values, "loss"), RECIPE, PLAN, "m")).comparisons)
    assert find(rows, "few", "baseline").verdict == "worse by more than the margin"
    assert find(rows, "few", "random control").verdict == "better by more than the margin"
    assert find(rows, "few", "random control").estimate < 0


def test_one_item_gives_a_value_and_no_error() -> None:
    arms = Arms(outcomes(binary((0,), n=1)), RECIPE, PLAN, "m")
    assert all(row.se is None and row.low is None for row in arms.results())
    assert all(row.p is None and row.verdict is None for row in conclusions(arms).comparisons)


def brought(*more: dict[str, object]) -> tuple[Recipe, dict[Cell, np.ndarray]]:
    """A study with several seeds and an arm that is a single model made elsewhere."""
    recipe = recipe_of(FEW, {"name": "ready", "checkpoint": "path:m"}, *more, seeds=(0, 1, 2))
    values = {cell: vector for cell, vector in binary((0, 1, 2), base=0.3).items() if cell.arm != "control"}
    return recipe, {**values, Cell(arm="ready"): (np.random.default_rng(4).uniform(size=60) < 0.8).astype(float)}


def test_a_model_made_elsewhere_is_one_checkpoint_beside_a_method() -> None:
    recipe, values = brought()
    rows = list(conclusions(Arms(outcomes(values), recipe, Plan(recipe, frozenset()), "m")).comparisons)
    row = find(rows, "ready", "baseline")
    assert (row.scope, row.seeds) == ("method against a checkpoint", 3)
    assert "as one checkpoint against a method on the data set d" in str(row.sentence)
    assert "S = 3 training runs of all-layers and 1 of ready" in str(row.sentence)
    assert find(rows, "few", "baseline").scope == find(rows, "base", "baseline").scope == "method"


def test_tests_of_a_single_model_do_not_change_with_the_looks() -> None:
    _, values = brought()
    tables = outcomes(values)
    for look in (None, Look((3, 5), 1)):
        found = contrast(replace(tables, look=look), Measure("t", "acc"), None, "ready", "base")
        assert found is not None
        assert found.estimate is not None
        assert found.scope == "checkpoints"
        assert found.test(np.random.default_rng(0)).p == found.estimate.p_value()


def test_a_share_of_the_gain_allows_for_looks() -> None:
    values, look = binary((0, 1, 2), base=0.1), Look((3, 5), 1)
    plain, at_look = (Arms(replace(outcomes(values), look=each), RECIPE, PLAN, "m").shares() for each in (None, look))
    for narrow, wide in zip(plain, at_look, strict=True):
        assert wide.shape != "interval" or (wide.low < narrow.low and wide.high > narrow.high)
