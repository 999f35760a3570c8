"""Ranks by scores spend the budget of equal ranks, fall down the ranking, and leave the scale alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from scipy.optimize import brentq

from layersig.errors import UserError
from layersig.jsonform import dumps
from layersig.layers import Layer, Part, Unit
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.records import Ranking
from layersig.training import stages
from layersig.training.ranks import MOST, ranks_by_order, ranks_by_share
from tests.tiny import tiny_model
from tests.training.world import CHOSEN, TRAIN, job


@pytest.mark.parametrize("mean", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("count", [1, 2, 7, 30, 211])
def test_ranks_fall_linearly_and_keep_the_budget(count: int, mean: int) -> None:
    names = [f"layer-{place}" for place in range(count)]
    ranks = list(ranks_by_order(names, mean).values())
    assert sum(ranks) == mean * count
    assert min(ranks) >= 1
    assert ranks == sorted(ranks, reverse=True)
    for place, rank in enumerate(ranks):
        due = 1 + (mean - 1) * Fraction(2 * (count - place) - 1, count)
        assert abs(rank - due) < 1


SHAPES = ((576, 576), (192, 576), (1536, 576), (576, 1536))


def units_of(count: int) -> dict[str, list[Layer]]:
    """Units of a layer each, of the shapes of a small Llama."""
    shapes = [SHAPES[number % 4] for number in range(count)]
    return {
        f"u{number}": [Layer(f"layer-{number}", number, "x", Part.MLP, out * inner, (out, inner))]
        for number, (out, inner) in enumerate(shapes)
    }


@given(st.lists(st.floats(0, 10), min_size=1, max_size=24).filter(any), st.sampled_from([1, 4, 8, 32]))
def test_shares_keep_the_parameters_of_equal_ranks(found: list[float], mean: int) -> None:
    units = units_of(len(found))
    scores = dict(zip(units, found, strict=True))
    costs = {name: sum(layers[0].shape) for name, layers in units.items()}
    by_layer = ranks_by_share(scores, units, mean)
    ranks = {name: by_layer[layers[0].name] for name, layers in units.items()}
    budget = mean * sum(costs.values())
    assert sum(ranks[name] * costs[name] for name in units) <= budget
    assert all(1 <= rank <= MOST * mean for rank in ranks.values())
    for one in units:
        for other in units:
            if scores[one] / costs[one] > scores[other] / costs[other]:
                assert ranks[one] >= ranks[other] - 1  # up to the rank that goes to a remainder


def test_shares_are_those_of_the_equation_that_spends_the_budget() -> None:
    units = units_of(12)
    rng = np.random.default_rng(0)
    scores = {name: float(score) for name, score in zip(units, rng.gamma(1.0, size=12), strict=True)}
    costs = np.array([sum(layers[0].shape) for layers in units.values()])
    values = np.array(list(scores.values()))

    def due(factor: float) -> np.ndarray:
        return np.clip(factor * values / costs, 1, MOST * 8)

    factor = brentq(lambda each: due(each) @ costs - 8 * costs.sum(), 0, 1e9)
    ranks = np.array(list(ranks_by_share(scores, units, 8).values()))
    assert np.abs(ranks - due(factor)).max() < 1 + 1e-6
    left = 8 * costs.sum() - ranks @ costs
    assert 0 <= left < costs.max()


def test_scores_in_proportion_to_parameters_give_equal_ranks() -> None:
    units = units_of(9)
    scores = {name: float(sum(layers[0].shape)) for name, layers in units.items()}
    assert set(ranks_by_share(scores, units, 8).values()) == {8}


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_scores_that_are_no_shares_are_refused(wrong: float) -> None:
    units = units_of(3)
    with pytest.raises(UserError, match=rf"u0 scores {wrong:g}; take a scorer without negative scores"):
        ranks_by_share({**dict.fromkeys(units, 0.0), "u0": wrong}, units, 8)


def test_an_arm_gets_ranks_by_shares(tmp_path: Path, inputs: Mapping[str, Path]) -> None:
    up, value = CHOSEN
    base = tiny_model("llama")
    layers = [name.removesuffix(".weight") for name, _ in base.named_parameters() if ".layers." in name]
    scores = {**{name: 0.0 for name in layers if "norm" not in name}, up: 1.0, value: 3.0}
    (tmp_path / "ranking").mkdir()
    (tmp_path / "ranking" / "ranking.json").write_text(dumps(Ranking(Unit.MODULE, scores).to_json()))
    train = TRAIN.model_copy(update={"ranks": "budget", "rank": 4})
    run = job(tmp_path, {**inputs, "ranking": tmp_path / "ranking"}, train=train)
    stages.tune(run)
    costs = {name: sum(base.get_submodule(name).weight.shape) for name in CHOSEN}
    with expected_warnings():
        wrappers = wrapped_layers(PeftModel.from_pretrained(base, run.out / "adapter").get_base_model())
    ranks = {name: wrapper.r["default"] for name, wrapper in wrappers.items()}
    # Of 4 (80 + 48) parameters three quarters, rank 8, and one, rank 1.6; what is left is one more rank of the smaller.
    assert (costs[up], costs[value]) == (80, 48)
    assert ranks == {up: 1, value: 9}


@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_an_arm_gets_its_ranks_and_plain_peft_reads_them(
    tmp_path: Path, inputs: Mapping[str, Path], unit: Unit
) -> None:
    up, value = CHOSEN
    scores = {up: 0.5, value: 2.0} if unit is Unit.MODULE else {"model.layers.0": 0.5, "model.layers.2": 2.0}
    base = tiny_model("llama")
    layers = [name.removesuffix(".weight") for name, each in base.named_parameters() if ".layers." in name]
    blocks = {f"model.layers.{number}": 0.0 for number in range(3)}
    names = {name: 0.0 for name in layers if "norm" not in name} if unit is Unit.MODULE else blocks
    (tmp_path / "ranking").mkdir()
    (tmp_path / "ranking" / "ranking.json").write_text(dumps(Ranking(unit, {**names, **scores}).to_json()))
    train = TRAIN.model_copy(update={"ranks": "scores", "rank": 4})
    run = job(tmp_path, {**inputs, "ranking": tmp_path / "ranking"}, train=train)
    stages.tune(run)
    config = json.loads((run.out / "adapter" / "adapter_config.json").read_text())
    assert len(config["rank_pattern"]) == len(CHOSEN)
    with expected_warnings():
        wrappers = wrapped_layers(PeftModel.from_pretrained(base, run.out / "adapter").get_base_model())
    # 1 + 3 * 2 * 1.5 / 2 and 1 + 3 * 2 * 0.5 / 2, of which the better placed gets the half that is over.
    assert {name: wrapper.r["default"] for name, wrapper in wrappers.items()} == {value: 6, up: 2}
    scale = 2.0 if train.alpha is None else train.alpha / train.rank
    assert {wrapper.scaling["default"] for wrapper in wrappers.values()} == {scale}
    for name, wrapper in wrappers.items():
        assert torch.linalg.matrix_rank(wrapper.get_delta_weight("default")) == wrapper.r["default"], name
