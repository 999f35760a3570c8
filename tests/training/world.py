"""Random examples and adapted tiny models for the tests of this folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor

from layersig.data.examples import Example, Examples, write_examples
from layersig.fast.runner import Workload
from layersig.jsonform import dumps
from layersig.models.adapters import inject_lora
from layersig.models.layermap import layer_map, layer_map_of_checkpoint
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell, Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Reference, Tune
from layersig.streams import Streams
from layersig.training.callbacks import Callback
from layersig.training.checkpoint import Checkpoints
from layersig.training.log import Step, TrainLog
from layersig.training.loop import train
from layersig.training.methods import component_of
from layersig.training.optimization import Optimization
from tests.tiny import SPECIAL_TOKENS, VOCABULARY, save_tiny, tiny_model

STREAMS = Streams(root=3, seed=0)
CPU = torch.device("cpu")
SETTINGS = TrainSettings(rank=3, dropout=0.0, batch_size=4, learning_rate=2e-3, micro_batch_tokens=64)
CHOSEN = ("model.layers.0.mlp.up_proj", "model.layers.2.self_attn.v_proj")
TRAIN = SETTINGS.model_copy(update={"epochs": 2.0, "dropout": 0.2, "warmup_ratio": 0.0})
BATCHES = [(0, 1, 2, 3), (4, 5, 6, 7), (1, 3, 5, 7)]


def examples(count: int = 8, *, longest: int = 30) -> Examples:
    """Random tokens of uneven length; each example has targets, never at its first token."""
    rng = np.random.default_rng(11)
    found = []
    for number in range(count):
        length = int(rng.integers(5, longest + 1))
        targets = rng.random(length) < 0.6
        targets[0], targets[-1] = False, True
        tokens = rng.integers(len(SPECIAL_TOKENS), VOCABULARY, length).astype(np.int32)
        found.append(Example(f"example-{number}", f"group-{number}", tokens, targets))
    return Examples.of(found)


def adapted(
    architecture: str = "llama",
    *,
    dtype: torch.dtype = torch.float64,
    dropout: float = 0.0,
    layers: Sequence[str] | None = None,
    factors: torch.dtype | None = None,
) -> PeftModel:
    """A tiny model with LoRA factors that have moved, in the model's dtype unless `factors` says otherwise."""
    model = tiny_model(architecture, dtype=dtype)
    found = [layer for layer in layer_map(model) if layers is None or layer.name in layers]
    peft_model = inject_lora(model, found, rank=3, alpha=6, dropout=dropout, streams=STREAMS)
    for index, (name, parameter) in enumerate(trained(peft_model).items()):
        if "lora_B" in name:
            drawn = torch.empty(parameter.shape).normal_(std=0.1, generator=torch.Generator().manual_seed(index))
            parameter.data.copy_(drawn)
        parameter.data = parameter.data.to(factors or dtype)
    return peft_model


def trained(model: PeftModel) -> dict[str, Tensor]:
    """Everything that requires a gradient, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def values(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


class Hooks(Callback):
    """Functions called at the moments of a training."""

    def __init__(
        self,
        extra_loss: Callable[[int], Tensor | None] = lambda number: None,
        after_step: Callable[[Step], bool | None] = lambda step: None,
    ) -> None:
        self.extra_loss = extra_loss
        self.after_step = after_step


def run(
    model: PeftModel,
    settings: TrainSettings = SETTINGS,
    *,
    batches: Sequence[Sequence[int]] = BATCHES,
    optimization: Optimization | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Path | None = None,
    fast: bool = True,
    **hooks: object,
) -> TrainLog:
    """Train all factors, with the functions of `Hooks` and other callbacks."""
    work = Workload(model, trained(model), examples(), batches, settings, STREAMS, fast=fast)
    last = [] if checkpoint is None else [Checkpoints(checkpoint)]
    return train(work, optimization or Optimization.of(settings), [Hooks(**hooks), *callbacks, *last])


def write_inputs(root: Path, architecture: str = "llama", chosen: Sequence[str] = CHOSEN) -> dict[str, Path]:
    """The folders that a training stage reads, by role."""
    folders = {name: root / name for name in ("model", "data", "layers", "selection")}
    for folder in folders.values():
        folder.mkdir()
    save_tiny(folders["model"], architecture)
    write_examples(folders["data"], "train", examples(18))
    layers = layer_map_of_checkpoint(folders["model"])
    (folders["layers"] / "layers.json").write_text(dumps(layers.to_json()))
    selection = Selection(tuple(chosen), sum(layers.by_name[name].parameters for name in chosen))
    (folders["selection"] / "selection.json").write_text(dumps(selection.to_json()))
    return folders


def job(
    folder: Path,
    inputs: Mapping[str, Path],
    name: str = "job",
    *,
    train: TrainSettings = TRAIN,
    seed: int = 0,
    **params: object,
) -> Job:
    """A training stage about to run in `folder/name`; one of the same name finds its state."""
    parts = [folder / name / part for part in ("out", "work")]
    for part in parts:
        part.mkdir(parents=True, exist_ok=True)
    compute = {"dtype": "float32", "device": "cpu", "quantization": "none", "attention": "sdpa"}
    spec = (Reference if {"milestones", "until"} & params.keys() else Tune).of(
        train=train.effective(component_of(train.method, ())), **{**compute, **params}
    )
    return Job(Cell(arm="arm"), spec, inputs, *parts, Streams(1, seed))


def digests(folder: Path) -> dict[str, str]:
    """Sha256 of every file by its name below the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
