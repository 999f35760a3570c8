"""Stage 2 of ILA: our gated model, plain PEFT modules and autograd, and stage 1 beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import torch

from layersig.data.examples import Example, Examples
from layersig.fast.runner import Workload
from layersig.models.layermap import layer_map
from layersig.models.updates import Delta
from layersig.scoring.gating import gated
from layersig.streams import Streams
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.benchmarks import world
from tests.benchmarks.harness import Table, alternate, ratio
from tests.benchmarks.training import arithmetic, ours, settings


class _Factors:
    """The factors of a PEFT model as an update, by layer."""

    def __init__(self, model) -> None:
        self._deltas = {
            name.removeprefix("base_model.model."): Delta(
                module.lora_B["default"].weight.detach(),
                module.lora_A["default"].weight.detach(),
                module.scaling["default"],
            )
            for name, module in model.named_modules()
            if hasattr(module, "lora_A")
        }

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._deltas)

    def delta(self, layer: str) -> Delta:
        return self._deltas[layer]


def stage_two(base, update, found: Sequence[Example], chosen: Sequence[Sequence[int]]) -> float:
    scores = torch.full((len(update.layers),), 4.0, requires_grad=True)
    base.requires_grad_(False)
    with gated(base, update, torch.sigmoid(scores)) as gates:
        hook = base.register_forward_pre_hook(lambda *_: gates.set(torch.sigmoid(scores)))
        try:
            work = Workload(base, {"scores": scores}, Examples.of(found), chosen, settings(0.0), Streams(0, 0))
            log = train(work, Optimization("adam", 0.05))
        finally:
            hook.remove()
    return log.seconds


def plain(model, found: Sequence[Example], chosen: Sequence[Sequence[int]]) -> float:
    """The same as a user of PEFT would write it: gates on the outputs of the B factors, autograd for the rest."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    factors = [module.lora_B["default"] for module in model.modules() if hasattr(module, "lora_B")]
    scores = torch.full((len(factors),), 4.0, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.05)
    rows, place, began = world.rows(found, chosen), 0, time.perf_counter()
    with ExitStack() as hooks:
        for index, module in enumerate(factors):
            handle = module.register_forward_hook(lambda _, __, out, index=index: out * torch.sigmoid(scores[index]))
            hooks.callback(handle.remove)
        for batch in chosen:
            optimizer.zero_grad()
            model(**world.padded(rows[place : place + len(batch)])).loss.backward()
            optimizer.step()
            place += len(batch)
    seconds = time.perf_counter() - began
    for module in factors:
        module.weight.requires_grad_(True)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.lora_A["default"].weight.requires_grad_(True)
    return seconds


def speed(spec: str, steps: int, repeats: int) -> Table:
    found = world.examples(spec)
    chosen = world.batches(found, steps, grouped=True)
    count = world.tokens(found, chosen)
    model = world.peft_model(dropout=0.0)
    for number, (name, parameter) in enumerate(world.trained(model).items()):
        if "lora_B" in name:
            parameter.data.normal_(std=0.01, generator=torch.Generator().manual_seed(number))
    update, base = _Factors(model), world.base_model().eval()
    assert len(update.layers) == len(layer_map(base))
    dropped = world.copies(0.1)
    timings = alternate(
        {
            "stage 2, layersig": lambda: stage_two(base, update, found, chosen),
            "stage 2, PEFT modules and autograd": lambda: plain(model, found, chosen),
            "stage 1, layersig, dropout 0": lambda: ours(model, found, chosen, 0.0),
            "stage 1, layersig, dropout 0.1": lambda: ours(dropped(), found, chosen, 0.1),
        },
        repeats,
    )
    mine = timings["stage 2, layersig"]
    whole = arithmetic(model, found, chosen)
    spared = 2 * count * sum(parameter.numel() for parameter in world.trained(model).values())
    rows = [
        [name, f"{count / timing.median:.0f}", f"{timing.spread:.0%}", ratio(mine, timing)]
        for name, timing in timings.items()
    ]
    return Table(
        "Stage 2 of ILA",
        "Learning the mask over the frozen update of all 210 linear layers, against the training that made the update. "
        "The paper reports 0.80 of stage 1's time.",
        ["", "tokens/s", "spread", "time of our stage 2 over this one's"],
        rows,
        [
            "Of the operations of stage 1 that no implementation can leave out, stage 2 needs "
            f"{(whole - spared) / whole:.2f}: it has no gradients of factors."
        ],
    )
