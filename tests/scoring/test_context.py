"""What the context offers to scorers, against the model taken by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from layersig.data.pairs import Pairs
from layersig.distributed.world import Several, joined
from layersig.errors import UserError
from layersig.fast import budget
from layersig.layers import Unit
from layersig.models.layermap import layer_parameter, layer_weight
from layersig.plugin.manager import built_in
from layersig.records import Cell
from layersig.scoring.context import ScoringContext
from layersig.training import gradients
from tests.scoring.moved import loss_of
from tests.scoring.world import World
from tests.tiny import tiny_batch

ROWS = tiny_batch(rows=4, length=12).tolist()
TARGETS_FROM = 4


@pytest.fixture
def context(tmp_path, request):
    architecture, scorer, unit = request.param
    world = World(tmp_path, architecture)
    world.write_data(ROWS, TARGETS_FROM)
    component = built_in().get("scorer", scorer)
    job = world.job(scorer, {}, unit=unit)
    with ScoringContext(job, component, world.layers.groups(unit)) as context:
        context.world = world
        yield context


@pytest.mark.parametrize("context", [("gpt2", "gradient-norm", Unit.BLOCK)], indirect=True)
def test_gradients_and_weights_of_a_layer_have_one_orientation(context):
    world = context.world
    world.model.requires_grad_(True)
    loss_of(world.model, ROWS, TARGETS_FROM).backward()
    seen = {}
    context.visit_gradients(
        context.optimizer_batches(1), lambda _, name, gradient: seen.update({name: gradient.clone()})
    )
    assert seen.keys() == set(world.layers.names)
    for layer in world.layers:
        dense = layer_parameter(world.model, layer).grad
        if layer_weight(world.model, layer).stride() != dense.stride():
            dense = dense.T
        assert seen[layer.name].shape == layer.shape
        assert torch.allclose(seen[layer.name], dense, rtol=1e-3, atol=1e-6)
        assert torch.equal(context.weight(layer.name), layer_weight(world.model, layer))


@pytest.mark.parametrize("context", [("llama", "gradient-norm", Unit.PART)], indirect=True)
def test_a_unit_has_the_weights_of_its_layers_end_to_end(context):
    group = context.groups[1]
    parts = [layer_weight(context.world.model, layer).flatten() for layer in group.members]
    assert torch.equal(context.weight(group.name), torch.cat(parts))
    assert {context.unit_of[layer.name] for layer in group.members} == {group.name}
    with pytest.raises(UserError, match="no layer of the model"):
        context.weight("model.layers.7")


@pytest.mark.parametrize("context", [("llama", "gradient-norm", Unit.MODULE)], indirect=True)
def test_losses_are_those_of_training_for_each_batch(context):
    batches = [(0, 1), (2,), (0, 1, 2, 3)]
    expected = [
        loss_of(context.world.model, [ROWS[index] for index in batch], TARGETS_FROM).item() for batch in batches
    ]
    assert context.losses(batches) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("context", [("llama", "weight-change", Unit.MODULE)], indirect=True)
def test_gradients_are_for_scorers_that_ask_for_them(context):
    with pytest.raises(UserError, match="add 'gradients' to its `needs`"):
        context.gradients({"x": torch.zeros(1)}, [(0,)])


class Nothing:
    """A memory of nothing."""

    def state(self):
        return {}

    def restore(self, state):
        pass


class Half(Several):
    """The first of two processes; the other one finds what this one finds."""

    rank, size = 0, 2

    def __init__(self) -> None:
        pass

    def gather(self, value):
        return [value, value]

    def sum(self, tensors):
        for tensor in tensors:
            tensor.mul_(2)


@pytest.mark.parametrize("context", [("llama", "gradient-norm", Unit.MODULE)], indirect=True)
def test_processes_share_the_batches_whose_gradients_are_read(context, monkeypatch):
    batches = [(0, 1), (2,), (3,)]
    passed = []
    own = gradients.visit_gradients
    monkeypatch.setattr(
        gradients,
        "visit_gradients",
        lambda *given: (passed.append(given[3][0]), own(*given)),
    )
    alone = context.gradient_values(batches, lambda _, __, gradient: float(gradient.norm()))
    assert passed == batches
    passed.clear()
    with joined(Half()):
        shared = context.gradient_values(batches, lambda _, __, gradient: float(gradient.norm()))
        assert passed == [(0, 1), (3,)], "the other process has the second batch"
        assert [shared[0], shared[2]] == [alone[0], alone[2]]
        passed.clear()
        seen = []
        context.visit_parts(
            batches, lambda batch, layer, _: (batch, layer), lambda *given: seen.append(given), memory=Nothing()
        )
        assert passed == [(0, 1), (3,)]
        assert [number for number, *_ in seen[:: len(context.layers)]] == [0, 1, 2]
        passed.clear()
        context.mean_gradients(batches)
        assert passed == [(0, 1), (3,)]


@pytest.mark.parametrize("context", [("llama", "gradient-norm", Unit.MODULE)], indirect=True)
def test_gradients_of_a_pair_need_room_for_both_its_rows(context, monkeypatch):
    asked = []
    monkeypatch.setattr(budget, "keeps_blocks", lambda model, largest: bool(asked.append(largest)) or True)
    context.learnt = Pairs(context.examples, context.examples, None, lambda scored: -scored.chosen)
    context.mean_gradients([(0, 1)])
    assert asked == [2 * context.examples.longest]


@pytest.mark.parametrize("context", [("llama", "weight-change", Unit.MODULE)], indirect=True)
def test_a_checkpoint_before_anything_moved_is_refused(context):
    world = context.world
    layer = world.layers[0]
    b, a = torch.zeros(layer.shape[0], 2), torch.ones(2, layer.shape[1])
    world.write_update({layer.name: (b, a)})
    context._job = replace(context._job, cell=Cell(scorer="change", checkpoint=0.05))
    with pytest.raises(UserError, match=r"scorers.change.checkpoint: 0.05 of the training .*, so no layer has moved"):
        _ = context.update
    world.write_update({layer.name: (b + 1e-6, a)})
    assert context.update.layers == (layer.name,)
