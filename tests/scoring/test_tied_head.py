"""A head that is tied to the embedding is scored by what it does as a head, as updates act on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from layersig.models.layermap import layer_map
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

HEAD = "lm_head"


def scored(root: Path, scorer: str, params: dict[str, Any], *, tied: bool) -> dict[str, float]:
    root.mkdir()
    world = World(root, tied=tied)
    if not tied:  # the same weights, each in memory of its own
        head, embedding = world.model.lm_head.weight, world.model.get_input_embeddings().weight
        with torch.no_grad():
            head.copy_(embedding)
        world.model.save_pretrained(root / "model")
    world.layers = layer_map(world.model, head=True)
    (root / "layers" / "layers.json").write_text(json.dumps(world.layers.to_json()))
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    generator = torch.Generator().manual_seed(1)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    return dict(world.ranking(scorer, params).scores)


@pytest.mark.parametrize(
    ("scorer", "params"),
    [
        ("gradient-norm", {"batches": 2}),
        ("projected-gradient", {"batches": 2}),
        ("whitened-gradient", {"batches": 2}),
        ("adalora-sensitivity", {"batches": 2}),
    ],
)
def test_it_is_scored_as_one_that_is_not_tied(tmp_path: Path, scorer: str, params: dict[str, Any]) -> None:
    tied, apart = (scored(tmp_path / name, scorer, params, tied=name == "tied") for name in ("tied", "apart"))
    assert tied.keys() == apart.keys()
    assert tied[HEAD] == pytest.approx(apart[HEAD], rel=1e-5)
    assert tied == pytest.approx(apart, rel=1e-5)
