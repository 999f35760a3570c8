"""Every scorer, built-in or of a package here, ranks the block first whose contribution is known by construction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from layersig.layers import Unit
from layersig.models.layermap import block_list, layer_weight
from layersig.models.update_folder import read_update
from layersig.plugin.manager import installed
from layersig.records import Ranking
from tests.scoring.moved import moved
from tests.scoring.test_ila import sampled
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

PLANTED = 1
ROWS = [[4 + (start + step * 3) % 6 for step in range(14)] for start in range(20)]
"""They repeat a few tokens, so that there is something to learn."""


def blocks_of(world: World) -> list[torch.nn.Module]:
    return list(block_list(world.model)[1])


def only_working(root: Path, architecture: str) -> World:
    """All other blocks hand on what they are given: their norms and biases are 0, and so is every gradient in them."""
    world = World(root, architecture)
    for place, block in enumerate(blocks_of(world)):
        for parameter in block.parameters():
            if parameter.ndim == 1 and place != PLANTED:
                parameter.zero_()
    world.model.save_pretrained(root / "model")
    world.write_data(ROWS, 4)
    return world


def only_change(root: Path, architecture: str) -> World:
    """One block has a large update in four directions, on which the data are optimal; others small ones in one."""
    world = World(root, architecture)
    generator = torch.Generator().manual_seed(1)
    factors = {}
    for layer in world.layers:
        norm = 0.09 * layer.parameters**0.5
        b, a = low_rank(layer.shape, 4, norm, generator)
        if layer.block != PLANTED:
            a[1:] = 0
            b *= 0.02 * norm / torch.linalg.matrix_norm(b @ a)
        factors[layer.name] = (b, a)
    world.write_update(factors)
    update = read_update(root / "update", world.layers)
    optimal = moved(
        world.model, world.layers, update, {each.name: 1.0 for each in world.layers if each.block == PLANTED}
    )
    world.write_data(sampled(optimal, 64, 16, 1))
    return world


def only_deaf(root: Path, architecture: str) -> World:
    """What one block reads of its inputs is the half in which they are next to nothing."""
    world = World(root, architecture)
    half = world.model.config.hidden_size // 2
    world.model.get_input_embeddings().weight[:, half:] = 0
    for layer in world.layers:
        weight = layer_weight(world.model, layer)
        if layer.name.endswith(("o_proj", "down_proj")):
            weight[half:] = 0
        elif layer.block == PLANTED:
            weight[:, :half] *= 0.01
    world.model.save_pretrained(root / "model")
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    return world


def only_signal(root: Path, architecture: str) -> World:
    """The weights of one block have a direction far above their noise."""
    world = World(root, architecture)
    for layer in world.layers:
        if layer.block == PLANTED:
            layer_weight(world.model, layer).add_(1.0)
    world.model.save_pretrained(root / "model")
    return world


def only_ranked(root: Path, architecture: str) -> World:
    """Another run ranked one block first."""
    world = World(root, architecture)
    names = [group.name for group in world.layers.groups(Unit.BLOCK)]
    ranking = Ranking(Unit.BLOCK, {name: float(place == PLANTED) for place, name in enumerate(names)})
    line = {"scorer": "other", "data": None, "seed": None, **ranking.to_json()}
    (root / "rankings").write_text(json.dumps(line) + "\n")
    return world


WORKING = {
    "gradient-norm": {"batches": 2},
    "projected-gradient": {"batches": 2},
    "whitened-gradient": {"batches": 2},
    "layer-contribution": {"steps": 4, "validation": 0.4},
    "block-influence": {},
    "angular-distance": {},
    "ablation": {"batches": 2},
    "greedy": {"batches": 2, "remove": 2, "protect": ()},
    "cka": {},
    "fisher": {"examples": 4},
    "snip": {"batches": 2},
    "taylor": {"batches": 2},
    "gmt": {"window": 2, "windows": 1},
    "owl": {"examples": 4, "threshold": 2.0},
}
CHANGED = {
    "ila": {"steps": 20, "learning_rate": 0.1, "initial": 0.0},
    "path-attribution": {"batches": 4, "nodes": 3, "tolerance": 1.0},
    "update-taylor": {"batches": 4},
    "leave-one-out": {"batches": 4},
    "add-one-in": {"batches": 4},
    "weight-change": {},
    "spectral": {},
    "adalora-sensitivity": {"batches": 4},
    "fisher-change": {"examples": 8},
}
OTHERS = {
    "feature-norm": (only_deaf, {"examples": 4}),
    "spectrum": (only_signal, {}),
    "transfer": (only_ranked, {"scorer": "other"}),
}


def test_every_scorer_that_looks_at_anything_is_here(packages: Path) -> None:
    known = [installed().get("scorer", name) for name in installed().names("scorer")]
    assert {each.name for each in known if each.needs} == {*WORKING, *CHANGED, *OTHERS}


def assert_first(world: World, scorer: str, params: dict[str, object], **train: object) -> Ranking:
    found = world.ranking(scorer, params, unit=Unit.BLOCK, **train)
    first, second = found.ordered()[:2]
    assert list(found.scores).index(first) == PLANTED, found.scores
    assert found.scores[first] > found.scores[second]
    return found


ARCHITECTURES = ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "qwen2"))]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scorer", WORKING)
def test_the_only_block_that_does_anything_ranks_first(packages, tmp_path, architecture, scorer):
    world = only_working(tmp_path, architecture)
    if scorer in ("ablation", "greedy"):  # what they ask is whether the block helps: it does on the model's own text
        world.write_data(sampled(world.model, 32, 16, 1))
    found = assert_first(world, scorer, WORKING[scorer], learning_rate=1e-2, warmup_ratio=0.0, weight_decay=0.0)
    first, *others = sorted(found.scores.values(), reverse=True)
    # Rounds of the search are no quantities; an angle has the root of a cosine's rounding.
    assert scorer == "greedy" or max(map(abs, others)) < 2e-3 * first, found.scores


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scorer", CHANGED)
def test_the_block_whose_update_made_the_data_ranks_first(packages, tmp_path, architecture, scorer):
    assert_first(only_change(tmp_path, architecture), scorer, CHANGED[scorer])


@pytest.mark.parametrize("scorer", OTHERS)
def test_so_does_what_the_others_look_for(packages, tmp_path, scorer):
    construct, params = OTHERS[scorer]
    assert_first(construct(tmp_path, "llama"), scorer, params)


def rescale(world: World, root: Path, factor: float) -> None:
    """Let norms of one block give more and the weights behind them take less: the model computes what it did."""
    block = world.model.model.layers[PLANTED]
    readers = {
        block.input_layernorm: (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj),
        block.post_attention_layernorm: (block.mlp.gate_proj, block.mlp.up_proj),
    }
    for norm, layers in readers.items():
        norm.weight.mul_(factor)
        for layer in layers:
            layer.weight.div_(factor)
    world.model.save_pretrained(root / "model")


OF_THE_FUNCTION = {
    **{name: WORKING[name] for name in ("block-influence", "angular-distance", "ablation", "cka", "owl")},
    **{name: WORKING[name] for name in ("snip", "taylor", "whitened-gradient")},
    "feature-norm": {"examples": 4},
    "spectrum": {},
}
OF_THE_SCALE = {
    **{name: WORKING[name] for name in ("gradient-norm", "projected-gradient", "fisher", "gmt")},
    "spectrum": {"variant": "released"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scorer", "params", "stays"),
    [
        *((scorer, params, True) for scorer, params in OF_THE_FUNCTION.items()),
        *((scorer, params, False) for scorer, params in OF_THE_SCALE.items()),
    ],
)
def test_what_a_score_owes_to_the_scale_of_weights(packages, tmp_path, scorer, params, stays):
    world = World(tmp_path)
    if scorer == "spectrum":
        for layer in world.layers:
            layer_weight(world.model, layer).add_(1.0)
    tokens = tiny_batch()
    logits = world.model(tokens).logits
    world.model.save_pretrained(tmp_path / "model")
    world.write_data(tiny_batch(rows=8, length=12).tolist(), 4)
    before = world.ranking(scorer, params, unit=Unit.BLOCK).scores
    rescale(world, tmp_path, 8.0)
    torch.testing.assert_close(world.model(tokens).logits, logits, rtol=1e-4, atol=1e-4)
    after = world.ranking(scorer, params, unit=Unit.BLOCK).scores
    block = list(before)[PLANTED]
    assert (after[block] == pytest.approx(before[block], rel=2e-3)) is stays, (before, after)
    others = [name for name in before if name != block]
    if scorer != "snip":  # a share of the whole model
        assert [after[name] for name in others] == pytest.approx([before[name] for name in others], rel=2e-3)
