"""The stages that train adapters: the reference training of all layers, and the tuning of a selection."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from peft import PeftModel

from layersig.data.batches import optimizer_batches
from layersig.data.examples import read_examples
from layersig.layers import Layer, LayerMap
from layersig.models.adapters import assert_moved, inject_lora, remove_adapter, save_adapter
from layersig.models.load import borrow_model
from layersig.recipe.schema import TrainSettings
from layersig.records import Selection
from layersig.store.job import Job
from layersig.training.log import TrainLog
from layersig.training.loop import train
from layersig.training.stability import stability


def reference(job: Job) -> None:
    """Train all layers and keep the update at every milestone, as an adapter folder `at-FRACTION`.

    Inputs: `model`, `layers`, `data`. Params: `train` (TrainSettings), `milestones` (fractions of the planned steps,
    1 among them), `dtype`, `device`, `quantization`, `attention`.

    Output: the adapters, and `log.json`: every step without its time, the arithmetic used, and epsilon-stability
    (arXiv 2410.17875), which is told and never ends the training: the schedule and the milestones hang on its length.

    Raises:
        StageFailed: The training diverged, or left a layer as it was.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    _train(job, list(layers), {f"at-{fraction:g}": fraction for fraction in job.params["milestones"]})


def tune(job: Job) -> None:
    """Train the selected layers from the pretrained weights and write `adapter/`, proved to have moved, and `log.json`.

    Inputs and params as `reference`, without `milestones`; `selection`.

    Raises:
        StageFailed: The training diverged, or moved other layers than the selected ones.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json")).by_name
    selection = Selection.from_json(job.read("selection", "selection.json"))
    _train(job, [layers[name] for name in selection.layers], {"adapter": 1.0})


def recover(job: Job) -> None:
    """Train all that pruning left, from the pruned weights, as `tune` does.

    Inputs and params as `tune`, with `layers` and `selection` of the pruned model; `base`, the model that was pruned.

    Raises:
        StageFailed: As `tune`.
    """
    tune(job)


def _train(job: Job, layers: Sequence[Layer], adapters: Mapping[str, float]) -> None:
    settings = TrainSettings.model_validate(job.params["train"], strict=False)
    examples = read_examples(job.inputs["data"], "train")
    length = {"steps": settings.steps} if settings.steps is not None else {"epochs": settings.epochs or 1.0}
    batches = optimizer_batches(examples, batch_size=settings.batch_size, streams=job.streams, **length)
    due: dict[int, list[str]] = {}
    for name, fraction in adapters.items():
        due.setdefault(max(1, round(fraction * len(batches))), []).append(name)
    compute = {name: job.params[name] for name in ("dtype", "device", "quantization", "attention")}
    with borrow_model(job.inputs["model"], **compute) as model:
        adapted = inject_lora(
            model,
            layers,
            rank=settings.rank,
            alpha=settings.scale * settings.rank,
            dropout=settings.dropout,
            streams=job.streams,
        )
        try:
            log = train(
                adapted,
                {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad},
                examples,
                batches,
                settings,
                job.streams,
                reporter=job.reporter,
                device=model.device,
                milestones={step: _keep(job, adapted, names) for step, names in due.items()},
                checkpoint=job.work,
            )
            assert_moved(adapted, layers)
        finally:
            remove_adapter(adapted)
    for name in adapters:
        shutil.move(job.work / name, job.out / name)
    _report(job, log)


def _keep(job: Job, adapted: PeftModel, names: Sequence[str]) -> Callable[[], None]:
    base_model, revision = _base_model(job.origins.get("model", "model"))
    if "base" in job.inputs:
        base_model, revision = _base_model(job.origins.get("base", "model"))
        base_model = f"{base_model} without {', '.join(job.read('layers', 'pruned.json')['removed'])}"

    def save() -> None:
        for name in names:
            # Under `work`, so that a milestone outlives an interruption as the checkpoint behind it does.
            save_adapter(adapted, job.work / name, base_model=base_model, revision=revision)

    return save


def _base_model(origin: str) -> tuple[str, str | None]:
    """What PEFT calls the base model: a hub repository and its commit, or the name that the recipe gave."""
    scheme, _, name = origin.partition(":")
    if scheme != "hub":
        return origin.removeprefix("path:"), None
    repository, _, revision = name.partition("@")
    return repository, revision or None


def _report(job: Job, log: TrainLog) -> None:
    rows = [step.to_json() for step in log.steps]
    job.metrics.extend(rows)
    job.write(
        "log.json",
        {
            "numerics": log.numerics,
            "stability": asdict(stability([step.loss for step in log.steps])),
            "steps": [{key: value for key, value in row.items() if key != "seconds"} for row in rows],
        },
    )
    job.cost.update(tokens=log.tokens, peak_memory=log.peak_memory, seconds_per_token=log.seconds / log.tokens)
