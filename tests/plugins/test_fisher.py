"""Fisher information against dense gradients, one example at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.layers import Unit
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.models.update_folder import read_update
from tests.objectives.test_scorers import PAIRS, PairWorld
from tests.objectives.world import DPO, dpo_loss, log_probability
from tests.scoring.world import World, low_rank
from tests.tiny import Double, tiny_batch

TARGETS_FROM = 3


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("unit", [Unit.MODULE, Unit.BLOCK])
def test_they_are_means_of_squares_over_examples(packages, tmp_path, architecture, unit):
    world = World(tmp_path, architecture)
    generator = torch.Generator().manual_seed(2)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    # Of different length, so that a mean over tokens would weigh them otherwise.
    rows = [tiny_batch(rows=1, length=length, seed=length)[0].tolist() for length in (6, 9, 14)]
    world.write_data(rows, TARGETS_FROM)
    update = read_update(tmp_path / "update", world.layers)
    expected = {"fisher": {}, "fisher-change": {}}
    world.model.requires_grad_(True)
    for row in rows:
        world.model.zero_grad()
        tokens = torch.tensor([row])
        logits = world.model(tokens).logits[0, TARGETS_FROM - 1 : -1]
        (-cross_entropy(logits, tokens[0, TARGETS_FROM:], reduction="sum")).backward()
        for layer in world.layers:
            weight = layer_parameter(world.model, layer)
            change = update.delta(layer.name).dense()
            change = change if layer_weight(world.model, layer) is weight else change.mT
            for scorer, value in (("fisher", weight.grad), ("fisher-change", weight.grad * change)):
                expected[scorer].setdefault(layer.name, []).append(value.square().sum().item())
    for scorer, values in expected.items():
        ranking = world.ranking(scorer, {"examples": 3}, unit=unit)
        spread = np.ptp(list(ranking.scores.values()))
        for group in world.layers.groups(unit):
            mean = sum(sum(values[layer.name]) / len(rows) for layer in group.members)
            assert ranking.scores[group.name] == pytest.approx(mean, abs=1e-5 * spread), (scorer, group.name)


def test_of_pairs_they_are_of_the_preference_loss_of_each(packages, tmp_path):
    """A pair counts once, however many tokens its responses have."""
    world = PairWorld(tmp_path)
    found = world.scored("fisher", {"examples": PAIRS})
    names = list(world.layers.names)[::4]
    weights = [layer_parameter(world.model, world.layers.by_name[name]).requires_grad_(True) for name in names]
    squares = np.zeros(len(names))
    for better, worse in zip(*world.sides, strict=True):
        with Double():
            loss = dpo_loss(
                lambda example: log_probability(world.model, example),
                lambda example: log_probability(world.model, example),
                [better], [worse], **DPO,
            )  # fmt: skip
            gradients = torch.autograd.grad(loss, weights)
        squares += [gradient.square().sum().item() for gradient in gradients]
    assert [found[name] for name in names] == pytest.approx(squares / PAIRS, rel=1e-6)
