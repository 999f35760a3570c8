from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.overlap import pairwise_kappa, top_k
from layersig.analysis.sharing import ratio_bound_jackknife_runs
from layersig.findings.estimators import estimator_rows, matrix_rows, overlap_test_rows
from layersig.findings.grid import grid_of
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows import LayerRow
from layersig.findings.stability import checkpoint_rows, component_rows, replicates, sharing_rows, stability_rows
from layersig.records import Cell
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
    found = replicates(TABLES)[0]
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
    found = replicates(TABLES)[0]
    (row,) = sharing_rows(found, (8,), "m", RECIPE)
    bound = ratio_bound_jackknife_runs(found.runs, found.design, 8)
    assert (row.ratio, row.lower) == (bound.ratio, bound.lower)
    assert row.verdict == "too few seeds for a sharing verdict"
    assert "d, e" in row.sentence
    assert row.p_different is not None
    assert row.relabellings is None
    assert list(sharing_rows(replicates(TABLES[2:3])[0], (8,), "m", RECIPE)) == []


def test_components_add_up_to_one() -> None:
    rows = list(component_rows(replicates(TABLES)[0], grid_of(UNITS)))
    assert [row.component for row in rows] == ["type", "depth", "type x depth", "data set", "seed", "run"]
    assert sum(row.share for row in rows if row.variance > 0) == pytest.approx(1.0)
    uneven = grid_of(UNITS[:-1])
    assert uneven.modules is None
    assert list(component_rows(replicates(TABLES)[0], uneven)) == []


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
    (found,) = (each for each in replicates([TABLES[0], flat]) if each.scorer == "norm")
    assert list(component_rows(found, grid_of(UNITS))) == []


def test_the_matrix_averages_pairs_of_runs() -> None:
    rows = {(row.a, row.b): row for row in matrix_rows(TABLES[:2], (8,), RECIPE, 0.9)}
    masks = [top_k(t.scores, 8) for t in TABLES[:2]]
    index = [[len(set(np.flatnonzero(a)) & set(np.flatnonzero(b))) for b in masks[1]] for a in masks[0]]
    expected = np.mean([[x / (16 - x) for x in line] for line in index])
    assert rows["ila/d/at-1", "ila/e/at-1"].jaccard == pytest.approx(expected)
    between, itself = rows["ila/d/at-1", "ila/e/at-1"], rows["ila/d/at-1", "ila/d/at-1"]
    assert itself.pairs == 3
    assert between.low is not None
    assert between.high is not None
    assert between.low <= between.jaccard <= between.high
    assert between.level == 0.9
    assert (itself.low, itself.high) == (None, None), "a run would meet itself"
    single = [table("ila", "d", 0.3, 1.0, seeds=1), TABLES[1]]
    assert {row.low for row in matrix_rows(single, (8,), RECIPE, 0.9)} == {None}


def test_every_test_of_overlap_stands_beside_what_it_assumes() -> None:
    rows = list(overlap_test_rows(TABLES[:2], (8,), grid_of(UNITS), RECIPE))
    assert [(row.test, row.holds, row.draws) for row in rows] == [
        ("uniform permutation", False, None),
        ("permutation within module types", False, None),
        ("depth-preserving surrogates", True, 200),
    ]
    assert rows[2].p >= 1 / 201
    again = list(overlap_test_rows(TABLES[:2], (8,), grid_of(UNITS), RECIPE))
    assert again == rows
