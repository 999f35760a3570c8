"""Necessity and plasticity of blocks: which rankings are put beside each other, and what comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.surrogates import interior, residuals, surrogate_test
from layersig.findings.files import Scored
from layersig.layers import Unit
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Ranking
from layersig.streams import Streams
from layersig.topics.bridge.compute import bridge_block_rows, bridge_notes, bridge_pairs, bridge_rows
from tests.report.studies import Study
from tests.report.synthetic import layer_map

LAYERS = layer_map(Study(blocks=12))
RECIPE = Recipe.model_validate_json(
    json.dumps(
        {
            "name": "x",
            "model": {"source": "path:m"},
            "data": [{"name": "a", "source": "file:a.jsonl"}],
            "scorers": {
                "necessity": {"kind": "ablation"},
                "size": {"kind": "weight-change"},
                "mask": {"kind": "ila"},
                "bi": {"kind": "block-influence"},
            },
            "analyze": {"resamples": 200},
        }
    )
)
RNG = np.random.default_rng(3)
DOWN = {name: 12.0 - place + RNG.normal() for place, name in enumerate(LAYERS.blocks)}


def by_module(blocks):
    """Scores of modules that grow with depth."""
    return {layer.name: layer.block + RNG.random() for layer in blocks}


def scored(scorer, scores, unit, *, seed=0, data="a", checkpoint=None):
    return Scored(Cell(scorer=scorer, data=data, seed=seed, checkpoint=checkpoint), Ranking(unit, scores))


MODULES = by_module(LAYERS)
RANKINGS = [
    scored("necessity", DOWN, Unit.BLOCK),
    scored("size", MODULES, Unit.MODULE, checkpoint=1.0),
    scored("size", dict.fromkeys(MODULES, 0.0), Unit.MODULE, checkpoint=0.5),
    scored("mask", MODULES, Unit.MODULE, checkpoint=1.0),
    scored("bi", DOWN, Unit.BLOCK),
]


def test_modules_are_summed_up_by_block_and_norms_as_squares():
    pairs = {pair.plasticity: pair for pair in bridge_pairs(RANKINGS, LAYERS, RECIPE)}
    assert sorted(pairs) == ["mask", "size"]
    for scorer, combine in {"mask": np.sum, "size": np.linalg.norm}.items():
        due = [combine([MODULES[layer.name] for layer in LAYERS if layer.block == block]) for block in range(12)]
        assert pairs[scorer].other[0].tolist() == pytest.approx(due)
        assert pairs[scorer].one[0].tolist() == list(DOWN.values())


def test_a_row_says_how_the_two_go_together():
    pairs = bridge_pairs(RANKINGS, LAYERS, RECIPE)
    row = next(row for row in bridge_rows(pairs, RECIPE) if row.plasticity == "mask")
    assert row.correlation == pytest.approx(stats.spearmanr(pairs[1].one[0], pairs[1].other[0]).statistic)
    assert -1 <= row.low < row.correlation < row.high < 1
    assert row.run_low == row.run_high == row.correlation
    assert 4 <= row.effective < 12
    assert 0 < row.p <= 1
    assert row.blocks == 12
    blocks = [each for each in bridge_block_rows(pairs) if each.plasticity == "mask"]
    assert blocks[-1].plasticity_rank == 1
    assert [each.layer for each in blocks] == list(LAYERS.blocks)


def series(ours, theirs):
    """The row of two scorers whose scores over the blocks of a deep model are these."""
    layers = layer_map(Study(blocks=len(ours)))
    rankings = [
        scored(scorer, dict(zip(layers.blocks, scores.tolist(), strict=True)), Unit.BLOCK)
        for scorer, scores in (("necessity", ours), ("mask", theirs))
    ]
    (row,) = bridge_rows(bridge_pairs(rankings, layers, RECIPE), RECIPE)
    return row


DEPTH = np.linspace(-1, 1, 28)


def test_the_residual_test_is_that_of_necessity_against_plasticity():
    rng = np.random.default_rng(5)
    ours, theirs = 2 * DEPTH + rng.normal(size=28), DEPTH**3 + rng.normal(size=28)
    row = series(ours, theirs)
    inside = interior(np.zeros(28, dtype=np.int64), np.arange(28))
    a, b = (residuals(scores[None], inside) for scores in (ours, theirs))
    stream = Streams(RECIPE.root_seed).generator("bridge", "necessity", "mask", "a")
    due = surrogate_test(a, b, np.ones((1, 1), dtype=bool), stream, draws=200)
    assert (row.residual, row.p, row.draws) == (due.statistic, due.p, 200)
    assert row.residual == pytest.approx(np.corrcoef(a.values[0], b.values[0])[0, 1])


def test_a_trend_over_depth_in_common_is_no_agreement_beyond_depth():
    rng = np.random.default_rng(2)
    row = series(*(4 * DEPTH + 0.3 * rng.normal(size=28) for _ in range(2)))
    assert row.correlation > 0.9
    assert row.p > 0.2


def test_blocks_alike_beyond_opposite_trends_agree_beyond_depth():
    rng = np.random.default_rng(2)
    detail = rng.normal(size=28)
    row = series(3 * DEPTH + detail, -3 * DEPTH + detail + 0.2 * rng.normal(size=28))
    assert row.correlation < -0.5
    assert row.residual > 0.7
    assert row.p < 0.02


def test_seeds_are_averaged_and_their_range_told():
    noisy = {name: value + RNG.normal(0, 3) for name, value in DOWN.items()}
    other = {name: value + RNG.normal(0, 9) for name, value in by_module(LAYERS).items()}
    more = [
        scored("necessity", noisy, Unit.BLOCK, seed=1),
        *(scored(scorer, other, Unit.MODULE, seed=1, checkpoint=1.0) for scorer in ("size", "mask")),
    ]
    pairs = bridge_pairs([*RANKINGS, *more], LAYERS, RECIPE)
    row = next(iter(bridge_rows(pairs, RECIPE)))
    mean = [(DOWN[name] + noisy[name]) / 2 for name in LAYERS.blocks]
    plastic = pairs[0].other
    assert plastic.shape == (2, 12)
    assert row.correlation == pytest.approx(stats.spearmanr(mean, (plastic[0] + plastic[1]) / 2).statistic)
    assert row.run_low < row.run_high
    blocks = [each for each in bridge_block_rows(pairs) if each.plasticity == row.plasticity]
    assert [each.necessity_score for each in blocks] == pytest.approx(mean)


@pytest.mark.parametrize("left_out", [0, slice(1, 4)])
def test_without_one_of_the_two_there_is_nothing_to_show(left_out):
    rest = list(RANKINGS)
    del rest[left_out]
    assert bridge_pairs(rest, LAYERS, RECIPE) == ()
    assert bridge_pairs(RANKINGS, None, RECIPE) == ()


def test_a_model_too_shallow_for_an_interval_is_told():
    shallow = layer_map(Study(blocks=5))
    assert bridge_pairs(RANKINGS, shallow, RECIPE) == ()
    (note,) = bridge_notes(shallow, RECIPE)
    assert "5 blocks are too few" in note
    assert bridge_notes(LAYERS, RECIPE) == ()
    assert bridge_notes(shallow, RECIPE.model_copy(update={"scorers": {}})) == ()
