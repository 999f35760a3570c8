"""What the originals read by mistake, done as they do it: how far it is from what it is meant to be, and from ours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, pad

from layersig.layers import Unit
from tests.scoring.test_block_influence import ROWS, TARGETS_FROM, cosine
from tests.scoring.world import World


def padded(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All rows padded on the right, and which tokens are real."""
    tokens = torch.stack([pad(torch.tensor(row), (0, width - len(row))) for row in ROWS])
    return tokens, torch.stack([torch.arange(width) < len(row) for row in ROWS]).long()


@pytest.fixture
def world(tmp_path) -> World:
    world = World(tmp_path)
    # As norms are once they have learned something.
    world.model.model.norm.weight.normal_(generator=torch.Generator().manual_seed(0))
    world.model.save_pretrained(tmp_path / "model")
    world.write_data(ROWS, TARGETS_FROM)
    return world


def test_the_last_state_that_transformers_hands_out_lies_behind_the_final_norm(world):
    ours = list(world.ranking("block-influence", {"batches": 2}).scores.values())
    pairs = []
    for row in ROWS:
        states = world.model(torch.tensor([row]), output_hidden_states=True).hidden_states
        pairs.append([cosine(one[0].numpy(), two[0].numpy()) for one, two in itertools.pairwise(states)])
    published = [1 - np.concatenate(values).mean() for values in zip(*pairs, strict=True)]
    assert published[:-1] == pytest.approx(ours[:-1], abs=1e-6)
    assert abs(published[-1] / ours[-1] - 1) > 0.01


def test_padding_that_counts_makes_influence_depend_on_the_longest_row(world):
    def published(width: int) -> list[float]:
        tokens, mask = padded(width)
        states = world.model(tokens, attention_mask=mask, output_hidden_states=True).hidden_states[:-1]
        return [float(1 - cosine_similarity(one, two, dim=-1).mean()) for one, two in itertools.pairwise(states)]

    ours = list(world.ranking("block-influence", {"batches": 2}).scores.values())[:-1]
    off = [max(abs(np.divide(published(width), ours) - 1)) for width in (24, 48)]
    assert off[1] > off[0] > 0.01
    assert list(world.ranking("block-influence", {"batches": 2}, micro_batch_tokens=1).scores.values())[:-1] == (
        pytest.approx(ours, abs=1e-6)
    )


def test_padding_that_is_a_label_moves_aletheia_s_gradients(world):
    """Its labels are all input ids: prompts count, which `prompts` does here, and padding, which nothing does."""

    def published(row: list[int], width: int) -> torch.Tensor:
        world.model.requires_grad_(True).zero_grad()
        tokens = pad(torch.tensor([row]), (0, width - len(row)))
        world.model(tokens, attention_mask=(tokens > 0).long(), labels=tokens).loss.backward()
        blocks = [f"{group.name}." for group in world.layers.groups(Unit.BLOCK)]
        named = list(world.model.named_parameters())
        return torch.stack([sum(p.grad.norm() for name, p in named if name.startswith(block)) for block in blocks])

    params = {"batches": 1, "reduce": "sum", "tensors": "all", "per_example": True, "prompts": True}
    found = world.ranking("gradient-norm", params, unit=Unit.BLOCK, batch_size=len(ROWS))
    ours = torch.tensor(list(found.scores.values()))
    alone, together = (torch.stack([published(row, width or len(row)) for row in ROWS]).mean(0) for width in (None, 24))
    # Single examples, as its code takes them, hold no padding; in a batch of several they would.
    torch.testing.assert_close(alone, ours, rtol=1e-4, atol=1e-5)
    assert ((together / ours - 1).abs() > 0.05).all()
