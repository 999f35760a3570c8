from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr, t

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.multiplicity import holm
from layersig.analysis.overlap import jaccard_matrix, pairwise_kappa
from layersig.analysis.selections import top_k
from layersig.analysis.sharing import ratio_bound_jackknife_runs
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.findings.unit_grid import grid_of
from layersig.records import Cell
from layersig.topics.stability.estimators import estimator_rows, matrix_rows, residual_test_notes, residual_test_rows
from layersig.topics.stability.overlap_tests import overlap_test_rows
from layersig.topics.stability.replicates import replicates
from layersig.topics.stability.sharing import sharing_rows
from layersig.topics.stability.variation import checkpoint_rows, component_rows, stability_rows
from tests.findings.recipes import recipe_of

KINDS = ("q", "v", "up")
UNITS = tuple(
    LayerRow(number=3 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
    for b in range(8)
    for i, kind in enumerate(KINDS)
)
N = len(UNITS)
RECIPE = recipe_of(
    seeds=(0, 1, 2),
    scorers={"ila": {"kind": "ila"}, "early": {"kind": "ila", "checkpoint": 0.25}, "norm": {"kind": "norm"}},
    analyze={"resamples": 200},
)
SIGNAL = np.random.default_rng(1).normal(size=N)


def table(scorer: str, data: str, noise: float, checkpoint: float | None = None, seeds: int = 3) -> ScoreTable:
    rng = np.random.default_rng([*f"{scorer}{data}".encode()])
    scores = SIGNAL + noise * rng.normal(size=(seeds, N))
    kind = RECIPE.scorers[scorer].kind
    return ScoreTable(Cell(scorer=scorer, data=data, checkpoint=checkpoint), kind, tuple(range(seeds)), scores, 0)


TABLES = (
    table("ila", "d", 0.3, 1.0),
    table("ila", "e", 0.3, 1.0),
    table("norm", "d", 0.5),
    table("early", "d", 0.9, 0.25),
)


def test_noise_ceiling_and_ratio_leave_out_seeds_of_all_data_sets() -> None:
    found = replicates(TABLES, RECIPE)[0]
    assert (found.scorer, found.data, found.seeds) == ("ila", ("d", "e"), (0, 1, 2))
    rows = {(row.quantity, row.data): row for row in stability_rows(found, (8,), grid_of(UNITS), 0.95)}
    scores = np.concatenate([TABLES[0].scores, TABLES[1].scores])
    design = RunDesign(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2]))
    agreement = agreement_jackknife_runs(scores, design, 8)
    interval = agreement.ratio.interval(0.95)
    assert rows["ratio", None].value == agreement.ratio.value
    assert (rows["ratio", None].low, rows["ratio", None].high) == (interval.low, interval.high)
    assert rows["ratio", None].left_out == "a seed of all data sets"
    kappa = pairwise_kappa(top_k(TABLES[0].scores, 8))
    assert rows["within", "d"].value == pytest.approx(kappa[np.triu_indices(3, 1)].mean())
    assert rows["within", "d"].left_out == "a run"
    assert ("identity gain", "e") in rows


def test_sharing_is_refused_with_three_seeds_and_carries_both_questions() -> None:
    found = replicates(TABLES, RECIPE)[0]
    (row,) = sharing_rows([found], (8,), "m", RECIPE)
    bound = ratio_bound_jackknife_runs(found.runs, found.design, 8)
    assert (row.ratio, row.lower) == (bound.ratio, bound.lower)
    assert row.verdict == "too few seeds for a sharing verdict"
    assert "d, e" in row.sentence
    assert row.p_different is not None
    assert row.relabellings is None
    assert list(sharing_rows(replicates(TABLES[2:3], RECIPE), (8,), "m", RECIPE)) == []


def test_components_add_up_to_one() -> None:
    rows = list(component_rows(replicates(TABLES, RECIPE)[0], grid_of(UNITS), 0.95))
    assert [row.component for row in rows] == ["type", "depth", "type x depth", "data set", "seed", "run"]
    assert sum(row.share for row in rows if row.variance > 0) == pytest.approx(1.0)
    uneven = grid_of(UNITS[:-1])
    assert uneven.modules is None
    assert list(component_rows(replicates(TABLES, RECIPE)[0], uneven, 0.95)) == []


def test_a_checkpoint_is_compared_with_the_last_one_of_the_same_scorer() -> None:
    (row,) = checkpoint_rows(TABLES, (8,), RECIPE)
    kappa = [
        pairwise_kappa(np.stack([top_k(TABLES[3].scores[s], 8), top_k(TABLES[0].scores[s], 8)]))[0, 1] for s in range(3)
    ]
    assert (row.kind, row.data, row.checkpoint, row.last, row.runs) == ("ila", "d", 0.25, 1.0, 3)
    assert (row.kappa, row.kappa_low, row.kappa_high) == pytest.approx((np.mean(kappa), min(kappa), max(kappa)))


def test_estimators_are_compared_on_one_data_set_and_checkpoint() -> None:
    rows = {(row.a, row.b): row for row in estimator_rows(TABLES, 0.95)}
    assert set(rows) == {("ila", "norm"), ("norm", "early")}
    row = rows["ila", "norm"]
    assert row.reliability_a is not None
    assert row.reliability_b is not None
    assert row.correlation is not None
    assert row.corrected == pytest.approx(row.correlation / np.sqrt(row.reliability_a * row.reliability_b))
    short = [table("ila", "d", 0.3, 1.0, seeds=2), table("norm", "d", 0.5, seeds=2)]
    (two,) = estimator_rows(short, 0.95)
    assert two.corrected is None
    a, b = (each.scores for each in short)
    expected = [spearmanr(a[0], b[1]).statistic, spearmanr(a[1], b[0]).statistic]
    assert two.correlation == pytest.approx(np.mean(expected))
    (one,) = estimator_rows([replace(each, seeds=(0,), scores=each.scores[:1]) for each in short], 0.95)
    assert one.correlation == pytest.approx(spearmanr(a[0], b[0]).statistic)


def test_estimators_are_compared_on_the_seeds_that_both_have() -> None:
    a, b = table("ila", "d", 0.3, 1.0, seeds=6), table("norm", "d", 0.5, seeds=5)
    (ragged,) = estimator_rows([a, replace(b, seeds=(0, 1, 2, 3, 7))], 0.95)
    common = [replace(each, seeds=(0, 1, 2, 3), scores=each.scores[:4]) for each in (a, b)]
    assert [ragged] == list(estimator_rows(common, 0.95))
    assert (ragged.runs, ragged.shape) == (4, "interval")
    (few,) = estimator_rows([a, replace(b, seeds=(0, 1, 7, 8, 9))], 0.95)
    assert (few.runs, few.corrected) == (5, None)
    assert few.correlation is not None
    (apart,) = estimator_rows([a, replace(b, seeds=(7, 8, 9, 10, 11))], 0.95)
    assert apart.corrected is not None


def test_a_ranking_without_data_stands_beside_those_on_every_data_set() -> None:
    carried = ScoreTable(Cell(scorer="llama"), "transfer", (None,), TABLES[0].scores[:1], 0, 0.9)
    rows = [row for row in estimator_rows([*TABLES, carried], 0.95) if row.b == "llama"]
    assert {(row.a, row.data) for row in rows} >= {("ila", "d"), ("ila", "e")}
    assert all(row.corrected is None for row in rows)


def test_a_scorer_that_scores_all_layers_alike_leaves_figures_empty_but_breaks_nothing() -> None:
    flat = replace(table("norm", "d", 0.5), scores=np.zeros((3, N)))
    (row,) = estimator_rows([TABLES[0], flat], 0.95)
    assert (row.correlation, row.corrected, row.reliability_b) == (None, None, None)
    assert row.reliability_a is not None
    (found,) = (each for each in replicates([TABLES[0], flat], RECIPE) if each.scorer == "norm")
    assert list(component_rows(found, grid_of(UNITS), 0.95)) == []


def test_the_matrix_averages_pairs_of_runs_of_different_seeds() -> None:
    rows = {(row.a, row.b): row for row in matrix_rows(TABLES[:2], (8,), RECIPE, 0.9)}
    index = jaccard_matrix(TABLES[0].scores, TABLES[1].scores, 8)
    between, itself = rows["ila/d/at-1", "ila/e/at-1"], rows["ila/d/at-1", "ila/d/at-1"]
    unlike = ~np.eye(3, dtype=bool)
    assert between.jaccard == pytest.approx(index[unlike].mean())
    assert (between.pairs, itself.pairs) == (6, 3)
    without = [index[np.ix_(kept, kept)][~np.eye(2, dtype=bool)].mean() for kept in ([1, 2], [0, 2], [0, 1])]
    reach = t.ppf(0.95, 2) * (2 / 3 * np.sum((np.array(without) - np.mean(without)) ** 2)) ** 0.5
    assert (between.low, between.high) == pytest.approx((between.jaccard - reach, between.jaccard + reach))
    assert None not in (itself.low, itself.high, itself.bootstrap_low)
    assert between.level == 0.9


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(seeds: int) -> None:
    tables = [table("ila", "d", 0.3, 1.0, seeds=seeds), table("ila", "e", 0.3, 1.0, seeds=seeds)]
    rows = list(matrix_rows(tables, (8,), RECIPE, 0.9))
    assert {row.low for row in rows} == {None}
    assert {row.one_seed for row in rows} == {seeds == 1}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_two_equal_scorers_of_one_training_reach_the_ceiling_and_not_more(share: float) -> None:
    rng = np.random.default_rng(3)
    diagonal, off = [], []
    for _ in range(60):
        training = SIGNAL + share**0.5 * rng.normal(size=(5, N))
        both = [
            replace(table(name, "d", 0.3, seeds=5), scores=training + (1 - share) ** 0.5 * rng.normal(size=(5, N)))
            for name in ("ila", "norm")
        ]
        found = {(row.a, row.b): row.jaccard for row in matrix_rows(both, (8,), RECIPE, 0.9)}
        diagonal.append((found["ila/d", "ila/d"] + found["norm/d", "norm/d"]) / 2)
        off.append(found["ila/d", "norm/d"])
    assert np.mean(off) == pytest.approx(np.mean(diagonal), abs=0.02)


def test_a_ranking_without_a_seed_is_never_left_out() -> None:
    carried = ScoreTable(Cell(scorer="llama"), "transfer", (None,), TABLES[0].scores[:1], 0, 0.9)
    row = next(row for row in matrix_rows([TABLES[1], carried], (8,), RECIPE, 0.9) if row.a != row.b)
    index = jaccard_matrix(TABLES[1].scores, carried.scores, 8)[:, 0]
    assert row.jaccard == pytest.approx(index.mean())
    half = t.ppf(0.95, 2) * index.std(ddof=1) / 3**0.5
    assert row.high == pytest.approx(min(1.0, index.mean() + half))


def test_every_test_of_overlap_names_what_it_assumes() -> None:
    rows = list(overlap_test_rows(TABLES[:2], (8,), grid_of(UNITS), RECIPE))
    assert [row.test for row in rows] == ["uniform permutation", "permutation within module types"]
    assert all(row.assumes for row in rows)
    assert list(overlap_test_rows(TABLES[:2], (8,), grid_of(UNITS), RECIPE)) == rows


def test_tests_of_overlap_are_corrected_over_pairs_and_sizes_each_with_its_verdict() -> None:
    rows = overlap_test_rows(TABLES[:3], (4, 8), grid_of(UNITS), RECIPE)
    for test in ("uniform permutation", "permutation within module types"):
        own = [row for row in rows if row.test == test]
        assert {(row.a, row.b) for row in own} == {("ila/d/at-1", "ila/e/at-1"), ("ila/d/at-1", "norm/d")}
        assert [row.adjusted_p for row in own] == pytest.approx(holm(np.array([row.p for row in own])).tolist())
        assert {row.tests for row in own} == {4}
    for row in rows:
        expected = "above chance, as this test has it" if row.adjusted_p <= 0.05 else "not shown to differ from chance"
        assert row.verdict == expected
        assert ("is above chance" in row.sentence) == (row.adjusted_p <= 0.05)
        assert "corrected for 4 tests" in row.sentence
        assert row.assumes in row.sentence


def test_an_overlap_is_held_against_what_two_seeds_share() -> None:
    row = next(row for row in overlap_test_rows(TABLES[:2], (8,), grid_of(UNITS), RECIPE) if row.k == 8)
    scores = np.concatenate([TABLES[0].scores, TABLES[1].scores])
    kappa, unlike = pairwise_kappa(top_k(scores, 8)), ~np.eye(3, dtype=bool)
    within = (kappa[:3, :3][unlike].mean() + kappa[3:, 3:][unlike].mean()) / 2
    assert row.ratio == pytest.approx(kappa[:3, 3:][unlike].mean() / within)
    index = [jaccard_matrix(each.scores, each.scores, 8)[unlike].mean() for each in TABLES[:2]]
    assert row.ceiling == pytest.approx(np.mean(index))
    alone = [replace(each, seeds=(0,), scores=each.scores[:1]) for each in TABLES[:2]]
    (single, _) = overlap_test_rows(alone, (8,), grid_of(UNITS), RECIPE)
    assert (single.ratio, single.ceiling) == (None, None)
    assert "the noise ceiling is unknown" in single.sentence


def test_an_overlap_below_chance_is_said_to_be_below() -> None:
    opposed = replace(TABLES[1], scores=-TABLES[0].scores)
    rows = overlap_test_rows([TABLES[0], opposed], (12,), grid_of(UNITS), RECIPE)
    assert {row.verdict for row in rows} == {"below chance, as this test has it"}


def deep(blocks: int, seed: int, signal: float, seeds: tuple[int, ...] = (0, 1, 2)) -> list[ScoreTable]:
    """Two scorers of a deep model whose residuals have `signal` of their variance in common."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=blocks * 3)
    made = []
    for name in ("ila", "norm"):
        own = signal**0.5 * common + (1 - signal) ** 0.5 * rng.normal(size=common.size)
        scores = own + 0.3 * rng.normal(size=(len(seeds), common.size)) + 4 * np.linspace(0, 1, common.size)
        made.append(ScoreTable(Cell(scorer=name, data="d"), RECIPE.scorers[name].kind, seeds, scores, 0))
    return made


def units(blocks: int) -> tuple[LayerRow, ...]:
    return tuple(
        LayerRow(number=3 * b + i, layer=f"m.{b}.{kind}", block=b, kind=kind, parameters=10)
        for b in range(blocks)
        for i, kind in enumerate(KINDS)
    )


@pytest.mark.parametrize("signal", [0.0, 0.8])
def test_agreement_beyond_type_and_depth_is_tested_and_corrected_over_the_rows(signal: float) -> None:
    tables = [*deep(24, 5, signal), *(replace(t, cell=replace(t.cell, data="e")) for t in deep(24, 6, signal))]
    rows = residual_test_rows(tables, grid_of(units(24)), RECIPE, 0.95)
    assert len(rows) == 4, "two scorers on two data sets, each scorer across them"
    same_data = [row for row in rows if row.a.endswith("/d") and row.b.endswith("/d")]
    (row,) = same_data
    assert (row.adjusted_p < 0.05) == (signal > 0)
    assert row.adjusted_p >= row.p
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.correlation <= row.high
    assert row.pairs == 6


def test_a_model_that_is_too_shallow_says_why_it_has_no_test() -> None:
    assert residual_test_rows(TABLES, grid_of(UNITS), RECIPE, 0.95) == ()
    (note,) = residual_test_notes(TABLES, grid_of(UNITS))
    assert "12 blocks" in note
    assert residual_test_notes(TABLES[:1], grid_of(UNITS)) == ()


@pytest.mark.parametrize("kind", ["hybrid", "mixture", "experts"])
def test_models_whose_blocks_differ_are_tested_too(kind: str) -> None:
    made = list(units(30))
    for i, unit in enumerate(made):
        if kind == "hybrid" and unit.block is not None and unit.block % 3:
            made[i] = unit.model_copy(update={"kind": f"mamba.{unit.kind}"})
        if kind == "mixture" and unit.block is not None and unit.block < 3 and unit.kind == "up":
            made[i] = unit.model_copy(update={"kind": "dense.up"})
        if kind == "experts" and unit.kind != "q":
            made[i] = unit.model_copy(update={"kind": "expert"})
    grid = grid_of(made)
    assert grid.modules is None
    shared, unrelated = (residual_test_rows(deep(30, 7, signal), grid, RECIPE, 0.95)[0] for signal in (0.8, 0.0))
    assert shared.p < 0.02
    assert unrelated.p > 0.05


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.2])
def test_the_level_of_the_recipe_reaches_every_bound(alpha: float) -> None:
    found = replicates([table("ila", "d", 0.3, 1.0, seeds=5), table("ila", "e", 0.3, 1.0, seeds=5)], RECIPE)[0]
    recipe = RECIPE.model_copy(update={"analyze": RECIPE.analyze.model_copy(update={"alpha": alpha})})
    (row,) = sharing_rows([found], (8,), "m", recipe)
    assert row.level == pytest.approx(1 - alpha)
    assert row.lower == ratio_bound_jackknife_runs(found.runs, found.design, 8, 1 - alpha).lower
    assert {part.level for part in component_rows(found, grid_of(UNITS), 1 - alpha)} == {1 - alpha}


@pytest.mark.parametrize("fill", [0.0, 1.0, -3.5])
def test_a_row_without_a_noise_ceiling_says_so(fill: float) -> None:
    flat = [replace(table("ila", d, 0.3, 1.0, seeds=5), scores=np.full((5, N), fill)) for d in ("d", "e")]
    (row,) = sharing_rows(replicates(flat, RECIPE), (8,), "m", RECIPE)
    assert row.verdict.startswith("no noise ceiling")
    assert "no noise ceiling to compare with" in row.sentence
    assert (row.ratio, row.lower, row.p_exchangeable, row.corrected) == (None, None, None, None)
