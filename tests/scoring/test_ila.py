"""ILA finds updates that matter, and touches nothing but its scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from layersig.layers import Unit
from layersig.models.update_folder import read_update
from layersig.plugin.manager import installed
from layersig.scoring.context import ScoringContext
from layersig.scoring.gating import gated
from layersig.scoring.stage import score
from tests.scoring.world import World, low_rank
from tests.tiny import Double, tiny_batch, torch_threads


def sampled(model: torch.nn.Module, rows: int, length: int, seed: int) -> list[list[int]]:
    """Sequences drawn from a model's own distribution: the data on which its weights are optimal."""
    generator = torch.Generator().manual_seed(seed)
    tokens = tiny_batch(rows=rows, length=1, seed=seed)
    for _ in range(length - 1):
        logits = model(tokens).logits[:, -1].float()
        tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1, generator=generator)], 1)
    return tokens.tolist()


@pytest.mark.parametrize("share", [1 / 3, 1 / 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_updates_come_out_on_top_of_noise_of_equal_norm(tmp_path, share, seed):
    world = World(tmp_path, seed=seed)
    names = list(world.layers.names)
    generator = torch.Generator().manual_seed(100 + seed)
    planted = {names[index] for index in torch.randperm(len(names), generator=generator)[: round(share * len(names))]}
    factors = {
        layer.name: low_rank(layer.shape, 4, 0.6 * layer.parameters**0.5 * 0.15, generator) for layer in world.layers
    }
    world.write_update(factors)
    update = read_update(tmp_path / "update", world.layers)
    truth = torch.tensor([float(name in planted) for name in update.layers])
    norms = {round(update.norm(name) / world.layers.by_name[name].parameters ** 0.5, 5) for name in names}
    assert len(norms) == 1
    # The data come from the model that has the planted updates alone: there they are signal, the others noise.
    with gated(world.model, update, truth):
        rows = sampled(world.model, 192, 24, seed)
    world.write_data(rows)
    before = {path.name: path.read_bytes() for path in (tmp_path / "update").iterdir()}
    ranking = world.ranking("ila", {"steps": 60, "learning_rate": 0.1, "initial": 0.0}, batch_size=16)
    top = set(ranking.ordered()[: len(planted)])
    assert len(top & planted) >= 0.95 * len(planted), (sorted(planted - top), ranking.scores)
    assert {path.name: path.read_bytes() for path in (tmp_path / "update").iterdir()} == before


@pytest.mark.parametrize(
    ("architecture", "unit"), [*(("llama", unit) for unit in Unit), ("gpt2", Unit.MODULE), ("qwen2", Unit.MODULE)]
)
def test_one_step_of_sgd_moves_scores_by_the_finite_difference(tmp_path, architecture, unit):
    world = World(tmp_path, architecture, dtype="float64")
    generator = torch.Generator().manual_seed(3)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    rows = tiny_batch(rows=4, length=10).tolist()
    world.write_data(rows)
    initial, rate = 0.7, 1.0
    update = read_update(tmp_path / "update", world.layers)
    groups = world.layers.groups(unit)
    ila = installed().get("scorer", "ila")
    job = world.job("ila", {"steps": 1, "optimizer": "sgd", "learning_rate": rate, "initial": initial}, unit=unit)
    with ScoringContext(job, ila, groups) as context:
        # Loaded before, since reading files is no computation that could be widened.
        assert context.model is not None
        assert context.update.layers == update.layers
        with torch_threads(1), Double():
            learned = ila.create().score(context)
    place = {layer.name: number for number, group in enumerate(groups) for layer in group.members}
    index = torch.tensor([place[name] for name in update.layers])
    tokens = torch.tensor(rows)

    def loss(scores: torch.Tensor) -> float:
        with Double(), torch.no_grad(), gated(world.model, update, torch.sigmoid(scores)[index]):
            logits = world.model(tokens).logits[:, :-1]
            return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()

    step, slopes = 1e-4, {}
    for number, group in enumerate(groups):
        scores = torch.full((len(groups),), initial, dtype=torch.float64)
        up, down = scores.clone(), scores.clone()
        up[number] += step
        down[number] -= step
        slopes[group.name] = (loss(up) - loss(down)) / (2 * step)
    spread = np.ptp(list(slopes.values()))
    for name, slope in slopes.items():
        assert (initial - learned[name]) / rate == pytest.approx(slope, abs=1e-5 * spread), name


def test_stage_two_leaves_weights_and_update_bit_identical(tmp_path):
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(1)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    job = world.job("ila", {"steps": 3})
    with ScoringContext(job, installed().get("scorer", "ila"), world.layers.groups(Unit.MODULE)) as context:
        model, update = context.model, context.update
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        deltas = {name: update.delta(name).dense() for name in update.layers}
        with context.gated(lambda: torch.full((len(context.layers),), 0.5)):
            pass
        installed().get("scorer", "ila").create().score(context)
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        assert all(torch.equal(update.delta(name).dense(), deltas[name]) for name in update.layers)


def test_same_job_same_bytes_and_the_trajectory_ends_at_the_scores(tmp_path):
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(1)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    first, second = (world.job("ila", {"steps": 5, "keep_every": 2}) for _ in range(2))
    score(first)
    score(second)
    for name in ("ranking.json", "trajectory.jsonl"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()
    rows = [json.loads(line) for line in (first.out / "trajectory.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert rows[-1]["scores"] == json.loads((first.out / "ranking.json").read_text())["scores"]
    assert first.cost["tokens"] == 5 * 4 * 12


def test_lanes_learn_the_same_scores(tmp_path):
    world = World(tmp_path, dtype="float64")
    generator = torch.Generator().manual_seed(3)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=16, length=10).tolist())
    found = []
    for threads in (1, 2, 2):
        with torch_threads(threads):
            found.append(world.ranking("ila", {"steps": 6}, batch_size=4).scores)
    assert found[1] == found[2]
    assert found[1] == pytest.approx(found[0], rel=1e-7)


def test_the_stop_rule_ends_training_once_ranks_hold(tmp_path):
    world = World(tmp_path)
    generator = torch.Generator().manual_seed(1)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=4, length=12).tolist())
    job = world.job("ila", {"steps": 200, "stop_tau": 0.9, "keep_every": 1})
    score(job)
    rows = [json.loads(line) for line in (job.out / "trajectory.jsonl").read_text().splitlines()]
    assert 17 <= len(rows) < 200
