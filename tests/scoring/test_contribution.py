"""Training one unit at a time: against trainings by hand, with units whose worth is known by construction."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.errors import UserError
from layersig.jsonform import read_jsonl
from layersig.layers import Unit
from layersig.models.layermap import layer_parameter
from layersig.records import EVERYTHING, UNTRAINED, ContributionForm
from layersig.scoring.stage import score
from tests.scoring.world import World
from tests.tiny import Double, tiny_batch

# Rows that repeat a few tokens, so that there is something to learn.
ROWS = [[4 + (start + step * 3) % 6 for step in range(14)] for start in range(20)]
PARAMS = {"steps": 2, "validation": 0.4}
FULL = {
    "method": "full",
    "learning_rate": 1e-3,
    "warmup_ratio": 0.0,
    "schedule": "constant",
    "dropout": 0.0,
    "clip": None,
}


def studied(tmp_path, architecture="llama", **model):
    world = World(tmp_path, architecture, **model)
    world.write_data(ROWS, 4)
    return world


def run(world, unit=Unit.BLOCK, params=PARAMS, **train):
    job = world.job("layer-contribution", params, unit=unit, **{**FULL, **train})
    score(job)
    ranking = json.loads((job.out / "ranking.json").read_text())["scores"]
    return job, ranking, {line["trained"]: line for line in read_jsonl(job.out / "trajectory.jsonl", ContributionForm)}


def loss(model, row):
    tokens = torch.tensor([row])
    return cross_entropy(model(tokens).logits[0, 3:-1], tokens[0, 4:])


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_scores_are_falls_of_the_loss_after_training_one_block(tmp_path, architecture):
    with Double():
        _compare_by_hand(studied(tmp_path, architecture, dtype="float64"))


def _compare_by_hand(world):
    job, found, lines = run(world)
    assert list(lines) == [UNTRAINED, EVERYTHING, *found]
    before = {name: value.clone() for name, value in world.model.state_dict().items()}
    from layersig.scoring.context import ScoringContext
    from layersig.scoring.contribution import _split

    groups = world.layers.groups(Unit.BLOCK)
    with ScoringContext(job, job.components[0], groups) as context:
        trained, (ranked, fresh) = _split(context)
        batches = context.optimizer_batches(2, trained)
        rows = [context.examples[index].tokens.tolist() for index in range(len(context.examples))]
    measured = [index for members in (*ranked.values(), *fresh.values()) for index in members]
    assert not {index for batch in batches for index in batch} & set(measured)
    spread = np.ptp(list(found.values()))
    for group in groups:
        world.model.load_state_dict(before)
        weights = [layer_parameter(world.model, layer).requires_grad_(True) for layer in group.members]
        optimizer = torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
        for batch in batches:
            optimizer.zero_grad()
            torch.stack([loss(world.model, rows[index]) for index in batch]).mean().backward()
            optimizer.step()
        world.model.requires_grad_(False)
        after = np.mean([float(loss(world.model, rows[i])) for members in ranked.values() for i in members])
        world.model.load_state_dict(before)
        start = np.mean([float(loss(world.model, rows[i])) for members in ranked.values() for i in members])
        assert found[group.name] == pytest.approx(start - after, abs=1e-5 * spread)
    assert all(len(line["chosen_by"]) == len(ranked) and len(line["fresh"]) == len(fresh) for line in lines.values())


def test_a_block_without_gradient_contributes_nothing_and_the_only_one_with_it_everything(tmp_path):
    world = studied(tmp_path)
    for place in (0, 2):  # nothing goes into these blocks, so that their layers can learn nothing
        block = world.model.model.layers[place]
        block.input_layernorm.weight.data.zero_()
        block.post_attention_layernorm.weight.data.zero_()
    world.model.save_pretrained(tmp_path / "model")
    _, found, lines = run(world, weight_decay=0.0)
    first, planted, last = found.values()
    assert first == last == 0
    assert planted > 0
    assert lines[EVERYTHING]["chosen_by"] == pytest.approx(lines["model.layers.1"]["chosen_by"])  # C = 1


def test_too_few_groups_are_refused(tmp_path):
    world = World(tmp_path)
    world.write_data(tiny_batch(rows=6, length=8).tolist())
    with pytest.raises(UserError, match=r"validation = 0\.4 keeps 3 groups of conversations"):
        world.ranking("layer-contribution", PARAMS)
