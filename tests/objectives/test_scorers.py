"""Scorers of losses and gradients under a preference, against the formula: finite differences and autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from layersig.data.examples import read_examples
from layersig.data.pairs import REJECTED
from layersig.layers import Unit
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.models.update_folder import read_update
from layersig.plugin.manager import installed
from layersig.scoring.context import ScoringContext
from layersig.scoring.stage import score
from tests.objectives.world import DPO, dpo_loss, log_probability, write_pairs, write_untouched
from tests.scoring.world import World, low_rank
from tests.tiny import Double, torch_threads

ARCHITECTURES = ["llama", "gpt2", "qwen3"]
PAIRS = 4


class PairWorld(World):
    """A tiny study of four pairs, in one optimizer batch."""

    def __init__(self, root, architecture="llama"):
        super().__init__(root, architecture, dtype="float64")
        generator = torch.Generator().manual_seed(3)
        self.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in self.layers})
        write_pairs(root / "data", PAIRS)
        with Double():
            write_untouched(root / "untouched", root / "data", self.model)
        self.sides = [list(read_examples(root / "data", f"train{ending}")) for ending in ("", REJECTED)]
        self.update = read_update(root / "update", self.layers)

    def scored(self, scorer, params, unit=Unit.MODULE):
        """What a scorer gives, in float64 throughout."""
        job = self.job(scorer, params, unit=unit, objective="dpo", dpo=DPO, batch_size=PAIRS)
        job = replace(job, inputs={**job.inputs, "untouched": self.root / "untouched"})
        component = installed().get("scorer", scorer)
        with ScoringContext(job, component, self.layers.groups(unit)) as context:
            assert context.model is not None
            with torch_threads(1), Double():
                return dict(component.create().score(context))

    def loss(self, gates: Mapping[str, float]):
        """The loss of all pairs of the model with a share of the update in some layers, written into its weights."""
        before = {name: layer_weight(self.model, self.layers.by_name[name]).clone() for name in gates}
        with Double(), torch.no_grad():
            reference = {each.id: log_probability(self.model, each) for side in self.sides for each in side}
            for name, gate in gates.items():
                layer_weight(self.model, self.layers.by_name[name]).add_(gate * self.update.delta(name).dense())
            found = dpo_loss(
                lambda example: log_probability(self.model, example), lambda example: reference[example.id],
                *self.sides, **DPO,
            ).item()  # fmt: skip
            for name, weight in before.items():
                layer_weight(self.model, self.layers.by_name[name]).copy_(weight)
        return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_of_ila_moves_scores_by_the_finite_difference_of_the_preference_loss(tmp_path, architecture):
    world = PairWorld(tmp_path, architecture)
    initial, rate, step = 0.7, 1.0, 1e-3
    found = world.scored("ila", {"steps": 1, "optimizer": "sgd", "learning_rate": rate, "initial": initial})
    every = dict.fromkeys(world.layers.names, torch.sigmoid(torch.tensor(initial, dtype=torch.float64)).item())
    slope = every[world.layers.names[0]] * (1 - every[world.layers.names[0]])
    for name in list(world.layers.names)[::8]:
        up, down = ({**every, name: every[name] + sign * step} for sign in (1, -1))
        gradient = slope * (world.loss(up) - world.loss(down)) / (2 * step)
        assert initial - found[name] == pytest.approx(rate * gradient, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_norms_are_those_of_the_preference_loss(tmp_path, architecture):
    world = PairWorld(tmp_path, architecture)
    found = world.scored("gradient-norm", {"batches": 1})
    names = list(world.layers.names)[::4]
    weights = [layer_parameter(world.model, world.layers.by_name[name]).requires_grad_(True) for name in names]
    with Double():
        loss = dpo_loss(
            lambda example: log_probability(world.model, example),
            lambda example: log_probability(world.model, example),
            *world.sides, **DPO,
        )  # fmt: skip
        gradients = torch.autograd.grad(loss, weights)
    for name, gradient in zip(names, gradients, strict=True):
        assert found[name] == pytest.approx(gradient.norm().item(), rel=1e-6)


@pytest.mark.slow
def test_losses_without_an_update_are_preference_losses(tmp_path):
    world = PairWorld(tmp_path)
    every = dict.fromkeys(world.layers.names, 1.0)
    found = world.scored("leave-one-out", {"batches": 1})
    for name in list(world.layers.names)[::9]:
        assert found[name] == pytest.approx(world.loss({**every, name: 0.0}) - world.loss(every), rel=1e-6, abs=1e-9)


def test_ablations_of_blocks_are_of_the_preference_loss(tmp_path):
    world = PairWorld(tmp_path)
    ablated = world.scored("ablation", {"batches": 1}, Unit.BLOCK)
    block = "model.layers.1"
    zeroed = [f"{block}.self_attn.o_proj", f"{block}.mlp.down_proj"]
    before = {name: layer_weight(world.model, world.layers.by_name[name]).clone() for name in zeroed}
    with Double(), torch.no_grad():
        reference = {each.id: log_probability(world.model, each) for side in world.sides for each in side}
        for name in zeroed:  # a block without an output adds nothing, as one that is skipped
            layer_weight(world.model, world.layers.by_name[name]).zero_()
        without = dpo_loss(
            lambda example: log_probability(world.model, example), lambda example: reference[example.id],
            *world.sides, **DPO,
        ).item()  # fmt: skip
        for name, weight in before.items():
            layer_weight(world.model, world.layers.by_name[name]).copy_(weight)
    assert ablated[block] == pytest.approx(without - world.loss({}), rel=1e-6)


@pytest.mark.parametrize("scorer", ["block-influence", pytest.param("layer-contribution", marks=pytest.mark.slow)])
def test_scorers_of_states_and_of_own_trainings_run_on_pairs_too(tmp_path, scorer):
    world = PairWorld(tmp_path)
    write_pairs(tmp_path / "data", 24)
    write_untouched(tmp_path / "untouched", tmp_path / "data", world.model)
    params = {"steps": 1, "validation": 0.5} if scorer == "layer-contribution" else {}
    job = world.job(scorer, params, unit=Unit.BLOCK, objective="dpo", dpo=DPO, batch_size=PAIRS, rank=2)
    job = replace(job, inputs={**job.inputs, "untouched": tmp_path / "untouched"})
    score(job)
    assert (job.out / "ranking.json").is_file()
