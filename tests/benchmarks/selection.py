"""Tuning a selection of layers against tuning all."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer

from layersig.models.kernels import fast_lora
from layersig.models.layermap import layer_map
from layersig.models.packing import packed
from layersig.stages.job import Silent
from layersig.streams import Streams
from layersig.training.batching import Packed
from layersig.training.loop import train
from tests.benchmarks import world
from tests.benchmarks.harness import Table, Timing, alternate
from tests.benchmarks.training import arithmetic, settings
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

    def limit(self, *, kept: bool) -> float:
        """Operations of an epoch; `kept`: one in which frozen lower blocks are not run again."""
        adapted = [name for name, module in self.model.named_modules() if isinstance(module, LoraLayer)]
        lowest = min(int(name.split(".layers.")[1].split(".")[0]) for name in adapted)
        above = 1 - lowest / self.model.config.num_hidden_layers
        return arithmetic(self.model, self.found, self.chosen, forward=above if kept else 1.0, backward=above)

    def activations(self) -> int:
        """Bytes that one batch keeps for its backward pass, weights and factors not counted."""
        base, kept = self.model.get_base_model(), {}
        own = {parameter.untyped_storage().data_ptr() for parameter in self.model.parameters()}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage
            return tensor

        with packed(base), fast_lora(base), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            micro = Packed(1 << 20).lay_out([self.found[index] for index in self.chosen[0]], CPU)
            output = base.model(**micro.inputs, use_cache=False)
        del output
        return sum(storage.nbytes() for storage in kept.values())

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
                f"{mine.median / first.median:.2f} ({each.limit(kept=False) / every.limit(kept=False):.2f})",
                f"{after.median / later.median:.2f} ({each.limit(kept=True) / every.limit(kept=True):.2f})",
                f"{each.activations() / 2**20:.0f} MiB",
                f"{each.state / 2**20:.0f} MiB",
                f"{each.state / every.state:.2f}",
            ]
        )
    return Table(
        "Selective tuning",
        "Time per token against all layers; in later epochs what frozen lower blocks compute is not computed again. "
        "In brackets the ratio of operations that no implementation can leave out. Activations: what the first batch "
        "keeps in the blocks for its backward pass. State: factors, their gradients and AdamW's moments.",
        ["", "tokens/s", "spread", "time, first epoch", "time, later epochs", "activations", "state", "of all layers'"],
        rows,
    )
