"""Tuning a selection of layers against tuning all."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer

from layersig.models.layermap import layer_map
from layersig.store.job import Silent
from layersig.streams import Streams
from layersig.training.loop import train
from tests.benchmarks import world
from tests.benchmarks.harness import Table, Timing, alternate
from tests.benchmarks.training import settings
from tests.benchmarks.world import CPU

EPOCHS = 3


def selections(seed: int = 0) -> dict[str, list[str]]:
    """Names of layers by the title of a selection; scattered ones are drawn at random."""
    layers = list(layer_map(world.base_model()))
    depth = 1 + max(layer.block for layer in layers if layer.block is not None)
    order = torch.randperm(len(layers), generator=torch.Generator().manual_seed(seed)).tolist()
    found = {"all layers": [layer.name for layer in layers]}
    for share in (0.75, 0.30, 0.10):
        kept = sorted(order[: round(share * len(layers))])
        found[f"scattered {share:.0%}"] = [layers[index].name for index in kept]
    found["upper half"] = [layer.name for layer in layers if layer.block is not None and layer.block >= depth // 2]
    return found


class _Selected:
    """A model with adapters on some layers, and the seconds of each epoch."""

    def __init__(self, targets: list[str], found, chosen) -> None:
        self.model = world.peft_model(dropout=0.0, targets=targets)
        self.found, self.chosen = found, chosen
        self.first, self.later, self.memory = [], [], 0

    def run(self) -> float:
        log = train(
            self.model,
            world.trained(self.model),
            self.found,
            list(self.chosen) * EPOCHS,
            settings(0.0),
            Streams(0, 0),
            reporter=Silent(),
            device=CPU,
        )
        steps = [step.seconds for step in log.steps]
        self.first.append(sum(steps[: len(self.chosen)]))
        self.later.append(sum(steps[len(self.chosen) :]) / (EPOCHS - 1))
        self.memory = log.peak_memory
        return log.seconds

    @property
    def state(self) -> int:
        """Bytes of factors, gradients and optimizer state: four float32 numbers a trained parameter."""
        return 16 * sum(
            parameter.numel()
            for module in self.model.modules()
            if isinstance(module, LoraLayer)
            for name, parameter in module.named_parameters()
            if "lora_" in name
        )


def speed(spec: str, steps: int, repeats: int) -> Table:
    found = world.examples(spec)
    chosen = world.batches(found, steps, grouped=True)
    count = world.tokens(found, chosen)
    runs = {title: _Selected(names, found, chosen) for title, names in selections().items()}
    alternate({title: each.run for title, each in runs.items()}, repeats)
    every = runs["all layers"]
    first, later = (Timing(tuple(times[1:])) for times in (every.first, every.later))
    rows = []
    for title, each in runs.items():
        mine, after = Timing(tuple(each.first[1:])), Timing(tuple(each.later[1:]))
        rows.append(
            [
                title,
                f"{count / mine.median:.0f}",
                f"{mine.spread:.0%}",
                f"{mine.median / first.median:.2f}",
                f"{after.median / later.median:.2f}",
                f"{each.state / 2**20:.0f} MiB",
                f"{each.state / every.state:.2f}",
            ]
        )
    return Table(
        "Selective tuning",
        "Time per token against all layers; in later epochs what frozen lower blocks compute is not computed again. "
        "State: factors, their gradients and AdamW's moments.",
        ["", "tokens/s", "spread", "time, first epoch", "time, later epochs", "state", "of all layers'"],
        rows,
    )
