"""Ranks by scores spend the budget of equal ranks, fall down the ranking, and leave the scale alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from layersig.jsonform import dumps
from layersig.layers import Unit
from layersig.models.adapters.wrappers import expected_warnings, wrapped_layers
from layersig.records import Ranking
from layersig.training import stages
from layersig.training.ranks import ranks_by_order
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
