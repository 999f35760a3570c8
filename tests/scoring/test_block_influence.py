"""Block influence and angular distance against plain forward hooks on one example at a time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.models.layermap import block_list, layer_map
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = [row[:length] for row, length in zip(tiny_batch(rows=6, length=24).tolist(), (24, 5, 17, 3, 9, 12), strict=True)]
TARGETS_FROM = 2


def boundary_states(model, row):
    """State before each block and behind the last, [tokens, width] each: a reference without any of the product's."""
    states = []
    _, blocks = block_list(model)
    handles = [
        block.register_forward_pre_hook(
            lambda _, args, kwargs: states.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )
        for block in blocks
    ]
    handles.append(blocks[-1].register_forward_hook(lambda _, args, output: states.append(output)))
    with torch.no_grad():
        model(torch.tensor([row]))
    for handle in handles:
        handle.remove()
    return [(state[0] if isinstance(state, tuple) else state)[0].numpy() for state in states]


def cosine(first, second):
    first, second = first.astype(np.float64), second.astype(np.float64)
    return (first * second).sum(-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))


def world_of(tmp_path, architecture, dtype="float32"):
    world = World(tmp_path, architecture, dtype=dtype)
    world.write_data(ROWS, TARGETS_FROM)
    return world


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "qwen3_moe"])
@pytest.mark.parametrize("mean", ["tokens", "examples"])
def test_block_influence_is_one_minus_the_mean_cosine(tmp_path, architecture, mean):
    world = world_of(tmp_path, architecture)
    found = world.ranking("block-influence", {"batches": 2, "mean": mean})
    states = [boundary_states(world.model, row) for row in ROWS]
    spread = np.ptp(list(found.scores.values()))
    for place, score in enumerate(found.scores.values()):
        each = [cosine(one[place], one[place + 1]) for one in states]
        due = np.concatenate(each).mean() if mean == "tokens" else np.mean([values.mean() for values in each])
        assert score == pytest.approx(1 - due, abs=1e-5 * spread)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize("tokens", ["last", "prompt"])
def test_block_influence_at_one_token_of_every_example(tmp_path, architecture, tokens):
    world = world_of(tmp_path, architecture)
    found = world.ranking("block-influence", {"batches": 2, "tokens": tokens})
    # Of the prompt alone, so that no answer can have had a part in it.
    states = [boundary_states(world.model, row if tokens == "last" else row[:TARGETS_FROM]) for row in ROWS]
    spread = np.ptp(list(found.scores.values()))
    for place, score in enumerate(found.scores.values()):
        due = np.mean([cosine(one[place][-1], one[place + 1][-1]) for one in states])
        assert score == pytest.approx(1 - due, abs=1e-5 * spread)


def test_a_block_that_turns_the_state_ranks_first(tmp_path):
    world = world_of(tmp_path, "llama")
    world.model.model.layers[1].mlp.down_proj.weight.data.mul_(50)
    world.model.save_pretrained(tmp_path / "model")
    assert "layers.1" in world.ranking("block-influence", {"batches": 2, "tokens": "prompt"}).ordered()[0]


@pytest.mark.parametrize(("architecture", "span"), [("llama", 1), ("llama", 2), ("gpt2", 2), ("gemma2", 3)])
@pytest.mark.parametrize("tokens", ["last", "all"])
def test_angular_distance_is_that_of_the_best_run_around_a_block(tmp_path, architecture, span, tokens):
    world = world_of(tmp_path, architecture)
    found = list(world.ranking("angular-distance", {"batches": 2, "span": span, "tokens": tokens}).scores.values())
    states = [boundary_states(world.model, row) for row in ROWS]
    depth = len(found)

    def distance(place):
        kept = slice(-1, None) if tokens == "last" else slice(None)
        each = [np.arccos(cosine(one[place][kept], one[place + span][kept])).mean() / math.pi for one in states]
        return np.mean(each)

    runs = {place: distance(place) for place in range(depth - span + 1)}
    spread = np.ptp(found)
    for place, score in enumerate(found):
        due = min(value for start, value in runs.items() if start <= place < start + span)
        assert score == pytest.approx(due, abs=1e-5 * spread)
    best = min(runs, key=lambda place: runs[place])
    assert sorted(range(depth), key=lambda place: found[place])[:span] == list(range(best, best + span))


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize(
    ("scorer", "params"),
    [
        ("block-influence", {}),
        ("block-influence", {"tokens": "prompt"}),
        ("angular-distance", {}),
        ("angular-distance", {"tokens": "all"}),
    ],
)
def test_padding_changes_nothing(tmp_path, architecture, scorer, params):
    world = world_of(tmp_path, architecture)
    alone, together = (
        world.ranking(scorer, {"batches": 2, **params}, micro_batch_tokens=tokens).scores for tokens in (1, 4096)
    )
    assert list(alone.values()) == pytest.approx(list(together.values()), abs=1e-6)


def test_the_final_norm_does_not_count(tmp_path):
    world = world_of(tmp_path, "llama")
    before = world.ranking("block-influence", {"batches": 2})
    world.model.model.norm.weight.data.normal_()
    world.model.save_pretrained(tmp_path / "model")
    assert world.ranking("block-influence", {"batches": 2}) == before


def test_a_run_must_leave_a_block(tmp_path):
    with pytest.raises(UserError, match=r"span = 3, and the model has 3 blocks"):
        world_of(tmp_path, "llama").ranking("angular-distance", {"span": 3})


def test_a_head_is_no_block(tmp_path):
    world = world_of(tmp_path, "llama")
    (tmp_path / "layers" / "layers.json").write_text(json.dumps(layer_map(world.model, head=True).to_json()))
    with pytest.raises(UserError, match="the output head is none"):
        world.ranking("block-influence", {})
