"""Ablation in one sweep against separate evaluations of models that lack the block."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.models.block_removal import without_blocks
from layersig.models.layermap import block_list
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = [row[:length] for row, length in zip(tiny_batch(rows=6, length=24).tolist(), (24, 7, 17, 6, 9, 12), strict=True)]
TARGETS_FROM = 3


def loss_of(model):
    """One example at a time, no batching: loss per target token."""
    total = count = 0
    for row in ROWS:
        tokens = torch.tensor([row])
        with torch.no_grad():
            logits = model(tokens).logits[0, TARGETS_FROM - 1 : -1]
        total += cross_entropy(logits.double(), tokens[0, TARGETS_FROM:], reduction="sum").item()
        count += len(row) - TARGETS_FROM
    return total / count


def replacing(block, change):
    def hook(_, args, kwargs, output):
        state = args[0] if args else kwargs["hidden_states"]
        changed = change(state, output[0] if isinstance(output, tuple) else output)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return block.register_forward_hook(hook, with_kwargs=True)


def world_of(tmp_path, architecture="llama"):
    world = World(tmp_path, architecture)
    world.write_data(ROWS, TARGETS_FROM)
    return world


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma3_text", "phi3", "qwen3_moe"])
@pytest.mark.parametrize("budget", [1, 4096])
def test_skipping_is_a_separate_evaluation_without_the_block(tmp_path, architecture, budget):
    world = world_of(tmp_path, architecture)
    found = world.ranking("ablation", {"batches": 2}, micro_batch_tokens=budget)
    whole = loss_of(world.model)
    spread = np.ptp(list(found.scores.values()))
    for place, value in enumerate(found.scores.values()):
        with without_blocks(world.model, [place]):
            assert value == pytest.approx(loss_of(world.model) - whole, abs=1e-5 * spread)


@pytest.mark.parametrize("how", ["zero", "mean"])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2"])
def test_other_ablations_put_another_state_in_place(tmp_path, architecture, how):
    world = world_of(tmp_path, architecture)
    found = world.ranking("ablation", {"batches": 2, "how": how}, micro_batch_tokens=30)
    blocks, whole = block_list(world.model)[1], loss_of(world.model)
    size = max(map(abs, found.scores.values()))
    # Without biases nothing comes of a state of zeros, wherever it is put.
    assert (len(set(found.scores.values())) == 1) is (how == "zero" and architecture != "gpt2")
    for block, value in zip(blocks, found.scores.values(), strict=True):
        added = []
        handle = replacing(block, lambda state, output, kept=added: kept.append(output - state) or output)
        loss_of(world.model)
        handle.remove()
        mean = torch.cat([each[0] for each in added]).mean(0)
        handle = replacing(
            block, lambda state, output, mean=mean: torch.zeros_like(state) if how == "zero" else state + mean
        )
        due = loss_of(world.model) - whole
        handle.remove()
        assert value == pytest.approx(due, abs=1e-5 * size)


def test_a_sweep_runs_half_the_blocks(tmp_path, monkeypatch):
    world = world_of(tmp_path)
    runs = []
    own = type(block_list(world.model)[1][0]).forward

    def counted(self, *args, **kwargs):
        runs.append(self)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(type(block_list(world.model)[1][0]), "forward", counted)
    world.ranking("ablation", {"batches": 2})
    depth = len(block_list(world.model)[1])
    tries = 3 * depth + depth  # to see how examples may go through the model, and what its blocks give
    assert len(runs) <= depth * (depth + 1) / 2 + tries


def reference_search(model, rounds, protected):
    """Every candidate of every round on its own."""
    depth, removed = len(block_list(model)[1]), []
    for _ in range(rounds):
        losses = {}
        for place in set(range(depth)) - protected - set(removed):
            with without_blocks(model, [*removed, place]):
                losses[place] = loss_of(model)
        removed.append(min(losses, key=lambda place: (losses[place], -place)))
    return removed


@pytest.mark.parametrize(
    ("architecture", "protect"), [("gemma2", [0]), ("gemma2", []), ("gemma3_text", [0, -1]), ("gpt2", [])]
)
def test_greedy_removes_what_is_missed_least(tmp_path, architecture, protect):
    world = world_of(tmp_path, architecture)
    found = world.ranking("greedy", {"batches": 2, "remove": 2, "protect": protect})
    rounds = list(found.scores.values())
    depth = len(rounds)
    due = reference_search(world.model, 2, {place % depth for place in protect})
    assert sorted(range(depth), key=rounds.__getitem__)[:2] == due
    assert sorted(rounds) == [1, 2, *[3] * (depth - 2)]


def test_greedy_takes_the_later_of_equal_blocks(tmp_path):
    world = world_of(tmp_path)
    for block in block_list(world.model)[1]:  # blocks that add nothing
        block.self_attn.o_proj.weight.data.zero_()
        block.mlp.down_proj.weight.data.zero_()
    world.model.save_pretrained(tmp_path / "model")
    found = world.ranking("greedy", {"batches": 1, "remove": 2, "protect": []})
    assert list(found.scores.values()) == [3, 2, 1]
