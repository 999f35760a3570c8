"""A few steps of a recipe's own training on its own model and data, timed: what a token takes in each kind of pass."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from layersig.data.batches import optimizer_batches
from layersig.planning.facts import Facts
from layersig.planning.rates import Speed
from layersig.recipe.schema import TokenBudget, TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from layersig.data.examples import Examples
    from layersig.layers import Layer
    from layersig.training.log import TrainLog

_STEPS = 6
"""Optimizer steps of a timed training; the first one is not counted."""
_FEW = 4
"""Of how many layers one is adapted in the second training."""
_EVALUATED = 2048
"""Tokens of the conversations whose losses are computed as an evaluation does."""
_MOST_READING = 0.75
"""Largest share of a training that its forward passes can be."""
_LONGEST = 40.0
"""Seconds after which a timed training ends."""
_LONGEST_START = 120.0
"""Seconds of a process after which it must have done something else before."""
_PROMPTS, _WRITTEN = 8, 12
"""Prompts that are continued, and tokens that each gets."""


def measure(facts: Facts, data: str, *, writes: bool) -> Speed:
    """Time the passes that the stages of a recipe consist of.

    Two trainings, of all layers and of every fourth, tell what an adapter costs and what the rest does; passes without
    gradients, with adapters and without, tell the same of reading.

    Args:
        facts: What is known of the recipe; its model is on this machine and fits.
        data: A prepared data set.
        writes: Whether to time written text too.
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
        read = _read(model, settings, examples, batches, recipe.model.fast)
        evaluate = _evaluated(model, examples, recipe.evaluate.batch_tokens, recipe.model.fast)
        write = _write(model, facts, examples) if writes else 0.0
        device = str(model.device)
    train, partly = _per_token(every), _per_token(some)
    # A training reads too; what seems to take longer alone is other work of a busy machine.
    read = min(read, _MOST_READING * train)
    evaluate = min(read, evaluate)
    share = sum(layer.parameters for layer in few) / sum(layer.parameters for layer in layers)
    plain = min(train, max(read, (partly - share * train) / (1 - share))) if share < 1 else train
    gate = min(max(0.0, gated - read), train - plain)
    by_kind = {"train": train, "plain": plain, "read": read, "evaluate": evaluate, "gate": gate, "write": write}
    return Speed(
        model=facts.known.sources["source/model"].label,
        device=device,
        measured=dt.datetime.now(dt.UTC).date().isoformat(),
        products=facts.shapes.products,
        by_kind=by_kind,
        stage=around,
        start=start,
        memory=float(every.peak_memory),
        batch=float(max(step.tokens for step in every.steps)),
        warm_up=max(0.0, every.steps[0].seconds - train * every.steps[0].tokens),
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
    from layersig.fast.runner import Workload
    from layersig.training.callbacks import AfterStep
    from layersig.training.loop import train
    from layersig.training.methods import Base, tuned
    from layersig.training.optimization import Optimization

    streams, fast = facts.streams(facts.recipe.seeds[0]), facts.recipe.model.fast
    until = time.monotonic() + _LONGEST
    with tuned(model, layers, settings, base=Base("probe"), steps=len(batches), streams=streams) as tuning:
        log = train(
            Workload(
                tuning.model, tuning.parameters, examples, batches, settings, streams, fast=facts.recipe.model.fast
            ),
            Optimization.of(settings),
            [AfterStep(lambda step: step.step > 1 and time.monotonic() > until)],
        )
        tuning.model.eval()
        return log, _read(model, settings, examples, batches, fast)


def _per_token(log: TrainLog) -> float:
    """Seconds of a token; the first step, which also fills caches, does not count."""
    counted = log.steps[1:] or log.steps
    return sum(step.seconds for step in counted) / sum(step.tokens for step in counted)


def _read(
    model: PreTrainedModel,
    settings: TrainSettings,
    examples: Examples,
    batches: Sequence[tuple[int, ...]],
    fast: bool,
) -> float:
    """Seconds of a token that is read, in a middling batch."""
    from layersig.fast.lora import fast_lora
    from layersig.fast.runner import reading_runner

    def seconds(batch: tuple[int, ...]) -> float:
        began = time.perf_counter()
        with reading_runner(model, examples, settings.micro_batch_tokens, fast=fast) as runner:
            runner.losses([batch])
        return (time.perf_counter() - began) / sum(len(examples[index]) for index in batch)

    with fast_lora(model) if fast else nullcontext():
        return median([seconds(batch) for batch in batches][1:] or [seconds(batches[0])])


def _evaluated(model: PreTrainedModel, examples: Examples, batch_tokens: TokenBudget, fast: bool) -> float:
    """Seconds of a token of a held-out conversation of middling length, once its shapes have been met.

    The conversations are neighbours in length, as those of a batch of a long evaluation are.
    """
    from layersig.evaluating.heldout import mean_losses

    count = min(len(examples), max(1, int(_EVALUATED / np.median(examples.lengths))))
    first = (len(examples) - count) // 2
    few = examples.part(np.argsort(examples.lengths, kind="stable")[first : first + count].tolist())
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        mean_losses(model, few, "probe", batch_tokens, fast=fast)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / float(few.lengths.sum())


def _write(model: PreTrainedModel, facts: Facts, examples: Examples) -> float:
    """Seconds of a token that is written."""
    from layersig.fast.decoder import Decoder
    from layersig.generating.generation import generated
    from layersig.generating.prompts import Prompt
    from layersig.models.load import load_tokenizer

    assert facts.model is not None
    count = min(_PROMPTS, len(examples))
    prompts = [Prompt(tuple(examples[index].tokens[:32].tolist()), (), _WRITTEN) for index in range(count)]
    decoder, tokenizer = Decoder(model, fast=facts.recipe.model.fast), load_tokenizer(facts.model)
    began = time.perf_counter()
    written = generated(decoder, tokenizer, prompts, 2**20, ends=frozenset())
    tokens = sum(len(each.tokens) for batch in written for each in batch)
    return (time.perf_counter() - began) / tokens
