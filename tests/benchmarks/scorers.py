"""What every scorer costs on the embedded model, its blocks the units, beside one training of all layers."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layersig.data.examples import Example, Examples, write_examples
from layersig.fast.runner import Workload
from layersig.layers import LayerMap, Unit
from layersig.models.adapters import inject_lora, remove_adapter, save_adapter
from layersig.models.adapters.wrappers import ADAPTER, wrapped_layers
from layersig.models.devices import peak_memory
from layersig.models.layermap import layer_map
from layersig.models.load import load_model
from layersig.plugin.manager import built_in
from layersig.plugin.table import Components
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell
from layersig.scoring.stage import score
from layersig.stages.job import Job
from layersig.stages.kinds import Score
from layersig.streams import Streams
from layersig.training.callbacks import AfterStep
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.benchmarks import world
from tests.benchmarks.harness import Table
from tests.benchmarks.world import CPU, RANK

BATCH, MEASURED, LENGTH = 8, 2, 128
"""Conversations of a batch as tables have it, and of the batches measured; tokens of a conversation, about."""
CONVERSATIONS, EPOCHS = 9800, 2  # recipes/studies/fraction.toml
PLUGINS = Path(__file__).parents[2] / "plugins"


@dataclass(frozen=True)
class Case:
    """How a scorer is measured.

    Attributes:
        key: The parameter that its time grows with; None where it does not grow.
        few: Its value for the measurement.
        passes: What its defaults ask for, F a forward pass over a batch, B a forward and backward pass.
        per_batch: Whether `key` counts batches, not examples.
        grows: Units of work at the defaults over those measured, where `key` does not say so alone.
        fixed: Whether a part of its time does not grow with `key`, so that a second, doubled measurement tells it.
        given: Other parameters.
    """

    key: str | None
    few: int
    passes: str
    per_batch: bool = True
    grows: float = 1.0
    fixed: bool = False
    given: Mapping[str, Any] | None = None


CASES: Mapping[str, Case] = {
    "block-influence": Case("batches", 1, "16 F"),
    "angular-distance": Case("batches", 1, "16 F"),
    "cka": Case("examples", 8, "16 F", per_batch=False),
    "feature-norm": Case("examples", 2, "12.5 F", per_batch=False),
    "owl": Case("examples", 2, "16 F", per_batch=False),
    "spectrum": Case(None, 0, "none"),
    "weight-change": Case(None, 0, "none"),
    "spectral": Case(None, 0, "none"),
    "gradient-norm": Case("batches", 1, "16 B"),
    "projected-gradient": Case("batches", 1, "16 B"),
    "whitened-gradient": Case("batches", 1, "16 F + 16 B", fixed=True),
    "fisher": Case("examples", 2, "8 B", per_batch=False),
    "fisher-change": Case("examples", 2, "8 B", per_batch=False),
    "snip": Case("batches", 1, "8 B"),
    "taylor": Case("batches", 1, "8 B"),
    "gmt": Case("window", 1, "16 B", grows=4.0, given={"windows": 1}),
    "update-taylor": Case("batches", 1, "16 B"),
    "path-attribution": Case("batches", 1, "80 B", grows=5.0, given={"nodes": 1, "tolerance": 1e9}),
    "adalora-sensitivity": Case("batches", 2, "16 B"),
    "ila": Case("steps", 2, "128 B"),
    "ablation": Case("batches", 1, "16 x 16 F"),
    "leave-one-out": Case("batches", 1, "62 F"),
    "add-one-in": Case("batches", 1, "62 F"),
}


class _Embedded:
    """The embedded model, a few conversations, and a random update, as the stage of a scorer reads them."""

    def __init__(self, root: Path, found: Sequence[Example]) -> None:
        self.root, self.found = root, found
        model = load_model(world.model_folder(), dtype=torch.float32, device=CPU)
        self.layers: LayerMap = layer_map(model)
        for name in ("layers", "data"):
            (root / name).mkdir()
        (root / "layers" / "layers.json").write_text(json.dumps(self.layers.to_json()))
        write_examples(root / "data", "train", found)
        adapted = inject_lora(model, list(self.layers), rank=RANK, alpha=RANK, dropout=0.0, streams=Streams(0))
        generator = torch.Generator().manual_seed(0)
        for wrapper in wrapped_layers(model).values():
            wrapper.lora_B[ADAPTER].weight.data.normal_(std=0.01, generator=generator)
        save_adapter(adapted, root / "update", base_model="embedded", revision=None)
        remove_adapter(adapted)

    def run(self, components: Components, name: str, params: Mapping[str, Any]) -> tuple[float, int]:
        """Seconds of CPU time, and bytes by which memory grew."""
        component = components.get("scorer", name)
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            places = {part: Path(folder) / part for part in ("out", "work")}
            for place in places.values():
                place.mkdir()
            inputs = {part: self.root / part for part in ("layers", "data", "update")}
            job = Job(
                cell=Cell(scorer=name),
                spec=Score.of(
                    scorer=name,
                    params=component.parse(params).model_dump(mode="json"),
                    unit=Unit.BLOCK,
                    train=TrainSettings(batch_size=MEASURED).model_dump(),
                    dtype="float32",
                    device="cpu",
                    quantization="none",
                    attention="sdpa",
                ),
                inputs={**inputs, "model": world.model_folder()},
                streams=Streams(0, 0),
                components=(component,),
                **places,
            )
            with peak_memory(CPU) as memory:
                began = time.process_time()
                score(job)
                seconds = time.process_time() - began
        return seconds, memory.growth

    def training(self, steps: int) -> float:
        """Seconds of CPU time of a step of a batch, every linear layer with an adapter."""
        model = load_model(world.model_folder(), dtype=torch.float32, device=CPU)
        adapted = inject_lora(model, list(self.layers), rank=RANK, alpha=RANK, dropout=0.0, streams=Streams(0))
        trained = {name: each for name, each in adapted.named_parameters() if each.requires_grad}
        settings = TrainSettings(rank=RANK, dropout=0.0, batch_size=MEASURED)
        batches = [range(MEASURED * place, MEASURED * (place + 1)) for place in range(steps + 1)]
        work = Workload(adapted, trained, Examples.of(self.found), batches, settings, Streams(0, 0))
        ends: list[float] = []
        train(work, Optimization.of(settings), [AfterStep(lambda _: ends.append(time.process_time()))])
        return (ends[-1] - ends[0]) / steps * BATCH / MEASURED


def costs(spec: str) -> Table:
    """Every scorer with its defaults, on batches of eight conversations."""
    with tempfile.TemporaryDirectory() as folder:
        # Of nearly one length, so that it makes no difference which of them a scorer draws.
        near = sorted(world.examples(spec), key=lambda each: abs(len(each) - LENGTH))
        found = near[: 8 * MEASURED]
        embedded = _Embedded(Path(folder), found)
        step = embedded.training(3)
        whole = step * CONVERSATIONS * EPOCHS / BATCH
        sys.stderr.write(f"  training: {step:.1f} s a step, {whole:.0f} s\n")
        components, rows = _components(), []
        embedded.run(components, "block-influence", {"batches": 1})  # whatever is loaded once
        for name, case in CASES.items():
            seconds, memory = _at_defaults(embedded, components, name, case)
            row = [f"`{name}`", case.passes, f"{seconds:.0f}", f"{seconds / whole:.1%}", f"{memory / 2**20:.0f} MiB"]
            sys.stderr.write(f"  {' | '.join(row)}\n")
            rows.append(row)
    alone = 31 * 64 * step
    training = [
        "`layer-contribution`",
        "31 x 64 training steps",
        f"{alone:.0f}",
        f"{alone / whole:.0%}",
        "as a training",
    ]
    about = (
        "A ranking of the 30 blocks of SmolLM2-135M-Instruct in float32, with the defaults of every scorer and batches "
        f"of {BATCH} conversations of about {LENGTH} tokens: CPU seconds of one thread. F is a forward pass over a "
        f"batch, B a forward and backward pass. One training is LoRA on all layers over {EPOCHS} epochs of "
        f"{CONVERSATIONS:,} such conversations, {whole:.0f} s; scorers that read an update take it too. Memory: growth "
        "over the loaded model."
    )
    notes = (
        f"Measured on batches of {MEASURED} and multiplied, since time grows with the conversations. Of "
        "`whitened-gradient` a second measurement tells the part that does not. The training is multiplied likewise "
        "from three steps, and so are the trainings of `layer-contribution`.",
        "CPU time, not wall time: the machine was shared with other work.",
    )
    columns = ["scorer", "passes", "CPU seconds", "of one training", "memory"]
    return Table("Scorers", about, columns, [*rows, training], notes)


def _at_defaults(embedded: _Embedded, components: Components, name: str, case: Case) -> tuple[float, int]:
    given = dict(case.given or {})
    if case.key is None:
        return embedded.run(components, name, given)
    default = components.get("scorer", name).params(**given).model_dump()[case.key]
    times = case.grows * default / case.few * (BATCH / MEASURED if case.per_batch else 1.0)
    seconds, memory = embedded.run(components, name, {**given, case.key: case.few})
    if not case.fixed:
        return seconds * times, memory
    twice, _ = embedded.run(components, name, {**given, case.key: 2 * case.few})
    return seconds + (twice - seconds) * (times - 1), memory


def _components() -> Components:
    """Built-in ones, and those of the packages in `plugins/`, whether they are installed or not."""
    from layersig.plugin.files import from_file

    found = list(built_in())
    for source in sorted(PLUGINS.glob("*/src/*/__init__.py")):
        found += (
            [each for each in from_file(source) if each.kind == "scorer"] if "scorer(" in source.read_text() else []
        )
    return Components(tuple(found))
