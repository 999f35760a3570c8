from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layersig.analysis.carrying import by_depth, relative_ranks
from layersig.findings.rankings import ScoreTable
from layersig.layers import Group, Layer, LayerMap, Part, Unit
from layersig.records import Cell
from layersig.topics.across_models.front import whether_shared
from layersig.topics.across_models.rankings import RankedModel, model_ceiling_rows, model_notes, model_pair_rows
from tests.findings.recipes import FEW, recipe_of

KINDS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
Scores = NDArray[np.float64]


def groups(blocks: int, kinds: tuple[str, ...] = KINDS) -> tuple[Group, ...]:
    layers = tuple(
        Layer(f"model.layers.{block}.{kind}", block, kind, Part.MLP, 4, (2, 2))
        for block, kind in product(range(blocks), kinds)
    )
    return LayerMap(layers, tuple(f"model.layers.{block}" for block in range(blocks)), tied_head=True).groups(
        Unit.MODULE
    )


def ranked(name: str, scores: Scores, units: tuple[Group, ...], seeds: tuple[int, ...] | None = None) -> RankedModel:
    """A model whose runs have these scores, shape (seeds, units)."""
    seeds = tuple(range(len(scores))) if seeds is None else seeds
    recipe = recipe_of(FEW, seeds=seeds, analyze={"resamples": 300})
    model = RankedModel(name, Path(name), recipe)
    table = ScoreTable(Cell(scorer="ila", data="d"), "ila", seeds, scores, 0)
    model.__dict__.update(groups=units, tables={("ila", "d"): table})
    return model


def profile(units: tuple[Group, ...], blocks: int, detail: Scores | float = 0.0) -> Scores:
    """Scores by type and relative depth, with detail of single layers on top."""
    codes = {kind: number for number, kind in enumerate(KINDS)}
    smooth = [np.sin(3 * (g.block + 0.5) / blocks + codes.get(g.kind, 9)) for g in units if g.block is not None]
    return np.array(smooth) + detail


def runs(mean: Scores, seeds: int = 5, noise: float = 0.1, seed: int = 0) -> Scores:
    return mean + noise * np.random.default_rng(seed).standard_normal((seeds, mean.size))


def test_models_that_rank_alike_share_layers_in_both_directions() -> None:
    units = groups(16)
    mean = profile(units, 16, np.random.default_rng(3).normal(0, 1, len(units)))
    models = [ranked("a", runs(mean), units), ranked("b", runs(mean, seed=1), units)]
    rows = model_pair_rows(models)
    assert [(row.source, row.target) for row in rows] == [("a", "b"), ("b", "a")]
    for row in rows:
        assert row.verdict == "shares layers"
        assert "shares layers with its own as far as seeds do" in row.sentence
        assert row.coverage == 1
        assert row.ratio == pytest.approx(1, abs=0.1)
        assert (row.correlation or 0) > 0.8
        assert (row.adjusted_p or 1) < 0.05


def test_models_that_put_the_same_layers_first_with_every_seed_need_no_test() -> None:
    units = groups(16)
    own = runs(profile(units, 16), noise=0.5)
    rows = model_pair_rows([ranked("a", own, units), ranked("b", 2 * own, units)])
    assert [row.verdict for row in rows] == ["the same layers in every run"] * 2
    assert (
        "the ranking of a on the layers of b puts the same layers first as its own with every seed" in rows[0].sentence
    )
    assert whether_shared(rows).endswith("in 2 of 2 comparisons.")


def test_models_that_have_nothing_in_common_are_not_said_to_share() -> None:
    units, rng = groups(16), np.random.default_rng(4)
    models = [ranked(name, runs(rng.normal(0, 1, len(units)), seed=seed), units) for seed, name in enumerate("ab")]
    rows = model_pair_rows(models)
    assert len(rows) == 2
    for row in rows:
        assert abs(row.kappa) < 0.25
        assert row.verdict == "sharing not shown"
        assert "no proof of difference" in row.sentence
        assert (row.p or 0) > 0.05
    assert {row.model: row.kappa > 0.7 for row in model_ceiling_rows(models)} == {"a": True, "b": True}


@pytest.mark.parametrize("deep", [13, 24, 40])
def test_depth_is_relative(deep: int) -> None:
    shallow = 12
    a, b = groups(shallow), groups(deep)
    models = [ranked("a", runs(profile(a, shallow), noise=0.01), a), ranked("b", runs(profile(b, deep), noise=0.01), b)]
    rows = model_pair_rows(models)
    assert len(rows) == 2
    for row in rows:
        assert row.coverage == 1
        assert row.kappa > 0.75
        assert row.of == (len(b) if row.target == "b" else len(a))


def test_what_has_no_counterpart_is_left_out_and_counted() -> None:
    a, b = groups(12), groups(12, (*KINDS[:2], "mlp.gate_proj"))
    models = [ranked("a", runs(profile(a, 12)), a), ranked("b", runs(profile(b, 12)), b)]
    told = {(row.source, row.target): (row.coverage, row.of, row.units) for row in model_pair_rows(models)}
    assert told == {("a", "b"): (24 / 36, 24, 36), ("b", "a"): (24 / 48, 24, 48)}
    c = groups(12, ("attn.c_attn",))
    other = ranked("c", runs(np.arange(12.0)), c)
    assert model_pair_rows([models[0], other]) == ()
    (note,) = model_notes([models[0], other])
    assert note.startswith("a and c are not compared")


def test_one_seed_has_no_ceiling_and_says_so() -> None:
    units = groups(12)
    models = [ranked(name, runs(profile(units, 12), seeds=1, seed=seed), units) for seed, name in enumerate("ab")]
    rows = model_pair_rows(models)
    assert len(rows) == 2
    for row in rows:
        assert (row.ceiling, row.verdict, row.low) == (None, None, None)
        assert "no noise ceiling" in row.sentence
    assert list(model_ceiling_rows(models)) == []


def test_a_share_that_is_all_units_of_a_small_model_has_no_ceiling() -> None:
    units = groups(2, KINDS[:1])
    model = ranked("a", runs(np.arange(2.0), 3), units)
    model.__dict__["fractions"] = (0.3, 0.75)
    assert [(row.k, row.of) for row in model_ceiling_rows([model])] == [(1, 2)]


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_below_five_seeds_there_is_no_verdict(seeds: int) -> None:
    units = groups(16)
    mean = profile(units, 16, np.random.default_rng(3).normal(0, 1, len(units)))
    models = [ranked(name, runs(mean, seeds, seed=seed), units) for seed, name in enumerate("ab")]
    verdicts = [row.verdict for row in model_pair_rows(models)]
    assert verdicts == ["too few seeds for a sharing verdict"] * 2


def test_kappa_is_that_of_the_sets_of_different_seeds() -> None:
    """From sets of names, as a reader would count them."""
    units = groups(14)
    rng = np.random.default_rng(8)
    models = [ranked(name, rng.normal(0, 1, (3, len(units))), units) for name in "ab"]
    n = len(units)
    rows = model_pair_rows(models)
    assert len(rows) == 2
    for row in rows:
        source, target = (next(model for model in models if model.name == name) for name in (row.source, row.target))
        tops = [
            [set(np.argsort(-scores)[: row.k].tolist()) for scores in model.tables["ila", "d"].scores]
            for model in (source, target)
        ]
        found = [
            (len(tops[0][i] & tops[1][j]) - row.k**2 / n) / (row.k - row.k**2 / n)
            for i, j in product(range(3), range(3))
            if i != j
        ]
        assert row.k == round(0.3 * n)
        assert row.kappa == pytest.approx(np.mean(found))


def test_seeds_that_only_one_model_has_are_left_out() -> None:
    units = groups(12)
    mean = profile(units, 12)
    models = [ranked("a", runs(mean, 3), units, (0, 1, 2)), ranked("b", runs(mean, 3, seed=1), units, (1, 2, 3))]
    assert {row.seeds for row in model_pair_rows(models)} == {2}


def test_carrying_to_the_same_depth_changes_no_rank() -> None:
    names = [group.name for group in groups(9)]
    scores = np.random.default_rng(1).normal(0, 1, (1, len(names)))
    ranks = relative_ranks(names, scores)
    assert by_depth(ranks, names) == pytest.approx(ranks)
    assert sorted(ranks.values()) == pytest.approx(np.linspace(0, 1, len(names)).tolist())
