"""Seconds that the cost-aware policy counts with, against trainings that are measured in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from layersig.data.examples import Example, Examples
from layersig.fast.runner import Workload, reading_runner
from layersig.layers import Group, Layer, Unit
from layersig.models.layermap import layer_map
from layersig.plugin.manager import installed
from layersig.recipe.schema import TrainSettings
from layersig.records import Ranking
from layersig.selecting.context import SelectionContext
from layersig.selecting.costs import Arithmetic, Rates
from layersig.streams import Streams
from layersig.training.loop import train
from layersig.training.methods import Base, component_of, tuned
from layersig.training.optimization import Optimization
from tests.training.world import STREAMS

SETTINGS = TrainSettings(rank=8, dropout=0.0, batch_size=4)
VOCABULARY, TURNS, STEPS = 512, 4, 3
BATCHES = [tuple(range(4 * step, 4 * step + 4)) for step in range(STEPS)]


def model() -> PreTrainedModel:
    """Twelve blocks, wide enough that products take the time."""
    shape = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 12, "num_attention_heads": 4}
    config = AutoConfig.for_model("llama", **shape, num_key_value_heads=2, vocab_size=VOCABULARY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = AutoModelForCausalLM.from_config(config)
    return found.eval().requires_grad_(False)


def examples() -> Examples:
    rng = np.random.default_rng(0)
    tokens = [rng.integers(4, VOCABULARY, 96).astype(np.int32) for _ in range(4 * STEPS)]
    targets = np.ones(96, bool)
    targets[0] = False
    return Examples.of([Example(f"e{number}", f"g{number}", each, targets) for number, each in enumerate(tokens)])


class Clock:
    """Seconds of a token, the least of all turns: other work on the machine only adds to it."""

    def __init__(self) -> None:
        self.model, self.examples = model(), examples()
        self.tokens = int(self.examples.lengths[:4].sum())

    def training(self, layers: Sequence[Layer]) -> float:
        with tuned(self.model, layers, SETTINGS, base=Base("b"), steps=STEPS, streams=STREAMS) as tuning:
            work = Workload(tuning.model, tuning.parameters, self.examples, BATCHES, SETTINGS, STREAMS)
            return min(step.seconds for step in train(work, Optimization.of(SETTINGS)).steps[1:]) / self.tokens

    def reading(self) -> float:
        with reading_runner(self.model, self.examples, "auto") as runner:
            times = []
            for batch in BATCHES:
                began = time.perf_counter()
                runner.losses([batch])
                times.append(time.perf_counter() - began)
        return min(times[1:]) / self.tokens


def chosen(arithmetic: Arithmetic, share: float, seed: int, rates: Rates) -> tuple[list[Group], list[Group]]:
    """What the policy takes by random scores, and as many of the highest."""
    scores = np.random.default_rng(seed).gamma(1.0, size=len(arithmetic.groups))
    ranking = Ranking(Unit.MODULE, {group.name: float(s) for group, s in zip(arithmetic.groups, scores, strict=True)})
    policy = installed().get("policy", "cost-aware")
    params = policy.parse({"share": share, "rates": tuple(rates)})
    context = SelectionContext(arithmetic.groups, {"a/b": ranking}, None, Streams(0, 0), params, arithmetic)
    by_name = {group.name: group for group in arithmetic.groups}
    taken = [by_name[name] for name in policy.create().select(context)]
    return taken, [by_name[name] for name in ranking.ordered()[: len(taken)]]


@pytest.mark.slow
def test_planned_seconds_are_about_those_measured_and_less_time_is_taken_than_by_top() -> None:
    clock = Clock()
    layers = layer_map(clock.model)
    groups, work = layers.groups(Unit.MODULE), component_of("lora", ()).create()
    trained = {layer.name: work.trained_values(layer, SETTINGS) for layer in layers}
    arithmetic = Arithmetic(groups, trained, whole=False, settings=SETTINGS, vocabulary=VOCABULARY)
    few = list(layers)[::4]
    share = sum(trained[layer.name] for layer in few) / sum(trained.values())

    def least(sets: dict[str, list[Layer]]) -> dict[str, float]:
        times = [{name: clock.training(each) for name, each in sets.items()} for _ in range(TURNS)]
        return {name: min(turn[name] for turn in times) for name in sets}

    read = min(clock.reading() for _ in range(TURNS))
    probe = least({"all": list(layers), "few": few})
    rates = Rates(read, (probe["few"] - share * probe["all"]) / (1 - share), probe["all"])
    assert rates.read < rates.plain < rates.train
    sets = {"upper half": [group for group in groups if (group.block or 0) >= 6], "scattered": list(groups[2::3])}
    for budget in (0.6, 0.8):
        sets[f"cost-aware {budget}"], sets[f"top {budget}"] = chosen(arithmetic, budget, 1, rates)
    measured = least({name: [layer for group in each for layer in group.members] for name, each in sets.items()})
    seconds = arithmetic.seconds(rates)
    ratios = {name: seconds.of(each) / measured[name] for name, each in sets.items()}
    assert all(0.8 < ratio < 1.25 for ratio in ratios.values()), ratios
    assert measured["cost-aware 0.6"] < 0.75 * measured["top 0.6"]
    assert measured["cost-aware 0.8"] < 1.02 * measured["top 0.8"]
