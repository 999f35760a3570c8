"""A few steps of a recipe's own training on its own model and data, timed: what a token takes in each kind of pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from layersig.data.batches import optimizer_batches
from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.speed import Speed, today
from layersig.recipe.schema import TrainSettings
from layersig.store.job import Silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from layersig.data.examples import Examples
    from layersig.layers import Layer
    from layersig.training.log import TrainLog

_STEPS = 4
"""Optimizer steps of a timed training; the first one is not counted."""
_FEW = 4
"""Of how many layers one is adapted in the second training."""
_LONGEST = 40.0
"""Seconds after which a timed training ends."""
_LONGEST_START = 120.0
"""Seconds of a process after which it must have done something else before."""
_PROMPTS, _WRITTEN = 8, 12
"""Prompts that are continued, and tokens that each gets."""


def measure(facts: Facts, stages: Sequence[Stage], data: str) -> Speed:
    """Time the passes that the stages of a recipe consist of.

    Two trainings, of all layers and of every fourth, tell what an adapter costs and what the rest does; passes without
    gradients, with adapters and without, tell the same of reading.

    Args:
        facts: What is known of the recipe; its model is on this machine and fits.
        stages: Stages that are left to run: text is written only if one of them writes.
        data: A prepared data set.
    """
    from layersig.models.load import borrow_model

    start = _since_start()
    assert facts.model is not None
    assert facts.shapes is not None
    examples = facts.examples(data, "train")
    assert examples is not None
    recipe = facts.recipe
    compute = recipe.model.model_dump(include={"dtype", "device", "quantization", "attention"})
    with borrow_model(facts.model, **compute):
        pass  # the first one loads it, later ones only check it
    began = time.perf_counter()
    with borrow_model(facts.model, **compute):
        pass
    around = time.perf_counter() - began
    settings = _settings(recipe.train)
    layers = list(facts.layers or facts.shapes.layers)
    streams = facts.streams(recipe.seeds[0])
    batches = optimizer_batches(examples, batch_size=settings.batch_size, steps=_STEPS, streams=streams)
    with borrow_model(facts.model, **compute) as model:
        every, gated = _trained(model, layers, settings, examples, batches, facts)
        few = layers[::_FEW]
        some, _ = _trained(model, few, settings, examples, batches, facts)
        read = _read(model, settings, examples, batches)
        writes = any(stage.kind in ("answer", "generate") for stage in stages) or _writes(facts)
        write = _write(model, facts, examples) if writes else 0.0
        device = str(model.device)
    train, partly = _per_token(every), _per_token(some)
    share = sum(layer.parameters for layer in few) / sum(layer.parameters for layer in layers)
    plain = min(train, max(read, (partly - share * train) / (1 - share)))
    by_kind = {"train": train, "plain": plain, "read": read, "gate": max(0.0, gated - read), "write": write}
    return Speed(
        model=facts.known.sources["source/model"].label,
        device=device,
        measured=today(),
        products=facts.shapes.products,
        by_kind=by_kind,
        stage=around,
        start=start,
        memory=float(every.peak_memory),
        batch=float(max(step.tokens for step in every.steps)),
    )


def _since_start() -> float | None:
    """Seconds that this process has run: the start of a run takes as long, if nothing else was done in it."""
    import psutil

    seconds = time.time() - psutil.Process().create_time()
    return seconds if seconds < _LONGEST_START else None


def _settings(train: TrainSettings) -> TrainSettings:
    """Plain LoRA of the recipe's rank and manner, by which every method is counted."""
    plain = {"method": "lora", "ranks": "equal", "resample": None, "search": None, "epochs": None, "steps": _STEPS}
    return train.model_copy(update=plain)


def _trained(
    model: PreTrainedModel,
    layers: Sequence[Layer],
    settings: TrainSettings,
    examples: Examples,
    batches: Sequence[tuple[int, ...]],
    facts: Facts,
) -> tuple[TrainLog, float]:
    """The log of a training that nothing is kept of, and the seconds of a token that its adapters then read."""
    from layersig.training.loop import train
    from layersig.training.methods import Base, tuned

    streams = facts.streams(facts.recipe.seeds[0])
    until = time.monotonic() + _LONGEST
    with tuned(model, layers, settings, base=Base("probe"), steps=len(batches), streams=streams) as tuning:
        log = train(
            tuning.model,
            tuning.parameters,
            examples,
            batches,
            settings,
            streams,
            reporter=Silent(),
            device=model.device,
            after_step=lambda step: step.step > 1 and time.monotonic() > until,
        )
        tuning.model.eval()
        return log, _read(model, settings, examples, batches)


def _per_token(log: TrainLog) -> float:
    """Seconds of a token in the steps after the first, which also fills caches."""
    steps = log.steps[1:] or log.steps
    return sum(step.seconds for step in steps) / sum(step.tokens for step in steps)


def _read(
    model: PreTrainedModel, settings: TrainSettings, examples: Examples, batches: Sequence[tuple[int, ...]]
) -> float:
    """Seconds of a token that is read."""
    from layersig.models.kernels import fast_lora
    from layersig.training.losses import batch_losses

    def run(some: Sequence[tuple[int, ...]]) -> None:
        batch_losses(model, examples, some, token_budget=settings.micro_batch_tokens, device=model.device)

    with fast_lora(model):
        run(batches[:1])
        began = time.perf_counter()
        run(batches[1:])
        seconds = time.perf_counter() - began
    return seconds / sum(len(examples[index]) for indices in batches[1:] for index in indices)


def _write(model: PreTrainedModel, facts: Facts, examples: Examples) -> float:
    """Seconds of a token that is written."""
    from layersig.generating.decoder import Decoder
    from layersig.generating.generation import Prompt, generated
    from layersig.models.load import load_tokenizer

    assert facts.model is not None
    count = min(_PROMPTS, len(examples))
    prompts = [Prompt(tuple(examples[index].tokens[:32].tolist()), (), _WRITTEN) for index in range(count)]
    decoder, tokenizer = Decoder(model), load_tokenizer(facts.model)
    began = time.perf_counter()
    written = generated(decoder, tokenizer, prompts, 2**20, ends=frozenset())
    tokens = sum(len(each.tokens) for batch in written for each in batch)
    return (time.perf_counter() - began) / tokens


def _writes(facts: Facts) -> bool:
    """Whether a task of the recipe lets the model write."""
    from layersig.planning.evaluation import asked_by

    tasks = [task.model_dump(mode="json", exclude={"data"}) for task in facts.recipe.evaluate.tasks]
    asked = [asked_by(facts, task, f"source/task/{number}") for number, task in enumerate(tasks)]
    return any(each is not None and each.written > 0 for each in asked)
