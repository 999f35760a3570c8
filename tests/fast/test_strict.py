"""What trains on a GPU keeps to operations that are deterministic there, and does not wait for it within a step."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from layersig.fast import batching, dropout, packing, runner
from layersig.fast.batching import Batching, PackedBatching, PaddedBatching
from layersig.fast.dropout import DropoutKeys
from layersig.models.devices import sent
from layersig.models.layermap import layer_map
from layersig.recipe.schema import AdaLoraSettings
from layersig.training.loop import train
from layersig.training.methods import Base, tuned
from layersig.training.optimization import Optimization
from tests.fast.strict import Strict
from tests.fast.twins import KINDS, Kind
from tests.tiny import tiny_model
from tests.training import world

META = torch.device("meta")


@pytest.mark.parametrize("operation", [lambda x: x.kthvalue(2), lambda x: x.cumsum(0), lambda x: x.median(0)])
def test_what_a_gpu_refuses_is_refused(operation) -> None:
    with Strict(), pytest.raises(RuntimeError, match="deterministic"):
        operation(torch.rand(5))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_step_waits_for_nothing_but_its_loss(kind: Kind, again: bool, as_gpu, monkeypatch) -> None:
    """However many micro-batches it has; the loss itself is read by `tolist`, once and at the end."""
    waits = []
    own = runner.FastRunner.loss_and_gradients

    def counted(self, *args):
        with Strict() as strict:
            found = own(self, *args)
        waits.append(strict.waits.total())
        return found

    monkeypatch.setattr(runner.FastRunner, "loss_and_gradients", counted)
    for budget in (30, 4096):
        kind("llama", torch.float32, budget, True, again)
    assert waits == [0, 0]


def test_adalora_does_what_a_gpu_may(as_gpu) -> None:
    """The allocation of ranks too, which runs in the deterministic mode of the training."""
    model = tiny_model("llama")
    layers = [layer for layer in layer_map(model) if layer.block is not None]
    ranks = AdaLoraSettings(init_r=4, target_r=2, tinit=1, tfinal=2)
    settings = world.SETTINGS.model_copy(update={"method": "adalora", "adalora": ranks})
    batches = world.BATCHES * 3
    with tuned(model, layers, settings, base=Base("tiny"), steps=len(batches), streams=world.STREAMS) as tuning:
        work = runner.Workload(tuning.model, tuning.parameters, world.examples(), batches, settings, world.STREAMS)
        with Strict():
            train(work, Optimization.of(settings), [tuning])
        kept = sum(int((value != 0).sum()) for name, value in tuning.parameters.items() if "lora_E" in name)
    assert kept == 2 * len(layers)


class Copies(TorchDispatchMode):
    """Counts copies from the host to the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if args and isinstance(args[0], Tensor) and isinstance(found, Tensor):
            self.count += args[0].device.type == "cpu" and found.device.type == "meta"
        return found


@pytest.mark.parametrize("way", [PackedBatching(4096), PaddedBatching(4096)])
def test_a_micro_batch_is_sent_in_few_copies_that_wait_for_nothing(way: Batching, as_gpu, monkeypatch) -> None:
    pinned = 0

    def counted(tensor: Tensor, device: torch.device) -> Tensor:
        nonlocal pinned
        pinned += 1
        return sent(tensor, device)

    for module in (batching, packing, dropout):
        monkeypatch.setattr(module, "sent", counted)
    found = world.examples()
    keys = DropoutKeys(world.STREAMS)
    keys.mask("layer", torch.empty(0, 8, device=META), 1)  # the key of a module is sent once a training
    for count in (2, 8):
        pinned = 0
        with Copies() as copies:
            micro = way.lay_out([found[index] for index in range(count)], META)
            keys.set(1, *micro.layouts)
            for _ in range(2):
                keys.mask("layer", torch.empty(micro.layouts[0].rows, 8, device=META), 1)
        assert copies.count == pinned <= 6


def test_what_is_sent_to_a_gpu_is_pinned_first() -> None:
    tensor, device = Mock(), torch.device("cuda", 0)
    assert sent(tensor, device) is tensor.pin_memory.return_value.to.return_value
    tensor.pin_memory.return_value.to.assert_called_once_with(device, non_blocking=True)
    tensor.to.assert_not_called()


def test_a_process_without_a_share_of_a_batch_adds_nothing() -> None:
    assert runner._sum([]) == 0.0
    assert runner._sum([torch.tensor(0.25), torch.tensor(0.5)]) == 0.75
