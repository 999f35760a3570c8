"""Necessity and plasticity of blocks: which rankings are put beside each other, and what comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from layersig.findings.files import Scored
from layersig.layers import Unit
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Ranking
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


def test_seeds_are_averaged_and_their_range_told():
    noisy = {name: value + RNG.normal(0, 3) for name, value in DOWN.items()}
    pairs = bridge_pairs([*RANKINGS, scored("necessity", noisy, Unit.BLOCK, seed=1)], LAYERS, RECIPE)
    row = next(iter(bridge_rows(pairs, RECIPE)))
    assert row.run_low < row.run_high


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
