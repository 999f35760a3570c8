"""A study of 8 models, 5 data sets, 5 seeds and 12 arms as `plan` counts it, on a card that is assumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from layersig.layers import LayerMap
from layersig.pipeline import Graph, Stage, stages
from layersig.planning.assumptions import Assumptions
from layersig.planning.disk import stored
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.planning.memory import gib
from layersig.planning.passes import Passes
from layersig.planning.rates import Speed
from layersig.planning.shapes import Shapes
from layersig.planning.work import passes
from layersig.recipe.load import LoadedRecipe, load_all

PEAK = 989e12
"""Operations a second of a card in bfloat16: an H100 or H200 without sparsity, by its data sheet."""
SHARE, SHARE_NF4 = 0.40, 0.30
"""Share of the peak that passes reach; over 4-bit weights, which are unpacked first. Assumed, not measured."""
READ_SPEED = 2e9
"""Bytes a second at which a stage reads the weights of its model. Assumed."""
START = 8.0
"""Seconds until a new process has imported what it needs: measured on two cores, see docs/scaling.md."""
LIGHT = 1.0
"""Seconds of a stage that runs no model, its process included. Assumed."""
ROWS, HELDOUT, MEAN_TOKENS, MOST_TOKENS = 10_000, 500, 300, 2048
"""Conversations of a data set, held-out ones among them, and their tokens."""
TASK_TOKENS, TASK_ITEMS = 4e6, 20_000
"""Tokens that one evaluation reads for its tasks, and the outcomes that it keeps."""

_LLAMA, _QWEN = (
    {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
    },
)


def _shape(
    base: dict[str, object], hidden: int, depth: int, inner: int, heads: int, pairs: int, words: int, tied: bool
) -> dict[str, object]:
    return {
        **base,
        "hidden_size": hidden,
        "num_hidden_layers": depth,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "vocab_size": words,
        "tie_word_embeddings": tied,
    }


MODELS = {
    "1B": _shape(_LLAMA, 2048, 16, 8192, 32, 8, 128_256, True),
    "3B": _shape(_LLAMA, 3072, 28, 8192, 24, 8, 128_256, True),
    "7B": _shape(_QWEN, 3584, 28, 18_944, 28, 4, 152_064, False),
    "8B": _shape(_LLAMA, 4096, 32, 14_336, 32, 8, 128_256, False),
    "13B": _shape(_LLAMA, 5120, 40, 13_824, 40, 40, 32_000, False),
    "14B": _shape(_QWEN, 5120, 48, 13_824, 40, 8, 152_064, False),
    "32B": _shape(_QWEN, 5120, 64, 27_648, 40, 8, 152_064, False),
    "70B": _shape(_LLAMA, 8192, 80, 28_672, 64, 8, 128_256, False),
}
"""Shapes of published models of these sizes."""
NF4 = frozenset({"70B"})
"""Models that are trained over 4-bit weights, since one card of 141 GB does not hold them in bfloat16."""


def recipe_text(name: str) -> str:
    """The recipe of a model."""
    data = "\n".join(f'[[data]]\nname = "d{n}"\nsource = "file:d{n}.jsonl"\nheldout = {HELDOUT}\n' for n in range(5))
    arms = "\n".join(
        f'[[arms]]\nname = "ila-{share}"\nscorer = "ila"\nselect = {{ kind = "top", fraction = 0.{share} }}\n\n'
        f'[[arms]]\nname = "random-{share}"\nselect = {{ kind = "matched-random", like = "ila-{share}" }}\n'
        for share in (10, 20, 30, 50, 70, 90)
    )
    quantization = '\nquantization = "nf4"' if name in NF4 else ""
    return f"""
name = "scale-{name.lower()}"
seeds = [0, 1, 2, 3, 4]

[model]
source = "hub:models/{name}"{quantization}

{data}
[train]
rank = 32
epochs = 2
batch_size = 16

[scorers.ila]
kind = "ila"
steps = 200

{arms}
[evaluate]
tasks = []
"""


class AssumedFacts(Facts):
    """Facts of data that do not exist: lengths from one distribution, with its mean."""

    @cached_property
    def layers(self) -> LayerMap | None:
        assert self.shapes is not None
        return self.shapes.layers

    def lengths(self, data: str, objective: str) -> Sequence[int]:
        return _lengths()[HELDOUT:]

    def rows(self, data: str, split: str) -> int:
        return HELDOUT if split == "heldout" else ROWS - HELDOUT


def _lengths() -> list[int]:
    drawn = np.random.default_rng(0).lognormal(sigma=0.7, size=ROWS)
    return [int(each) for each in np.clip(drawn * MEAN_TOKENS / drawn.mean(), 8, MOST_TOKENS)]


@dataclass(frozen=True)
class Planned:
    """One model's part of the study.

    Attributes:
        name: Of the model.
        loaded: Its recipe.
        graph: Its stages.
        shapes: Of the model.
        seconds: Of every stage by id.
        stored: Bytes that every stage adds to the store, by id.
        weights: Bytes that a stage reads of the model.
    """

    name: str
    loaded: LoadedRecipe
    graph: Graph
    shapes: Shapes
    seconds: dict[str, float]
    stored: dict[str, float]
    weights: float

    def __str__(self) -> str:
        return f"{self.name} ({self.shapes.stored / 1e9:.1f} B parameters, {gib(self.weights)})"


def planned(name: str, folder: Path) -> Planned:
    """Plan a model's part of the study in a folder."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "config.json").write_text(json.dumps(MODELS[name]))
    (folder / "recipe.toml").write_text(recipe_text(name))
    for number in range(5):
        (folder / f"d{number}.jsonl").write_text("")
    (loaded,) = load_all(folder / "recipe.toml", [], smoke=False)
    graph = stages(loaded.recipe, loaded.components)
    facts = AssumedFacts(Known(loaded, graph, {}, {}, {}, frozenset()), Assumptions(), folder / "config")
    shapes = facts.shapes
    assert shapes is not None
    weights = shapes.stored * 2.0
    speed = _speed(name, shapes)
    seconds, sizes = {}, {}
    for stage in graph.stages:
        asked = _asked(facts, stage)
        assert asked.unknown is None, (stage.id, asked.unknown)
        own = speed.seconds(asked)
        seconds[stage.id] = own + START + weights / READ_SPEED if own else LIGHT
        sizes[stage.id] = _stored(facts, stage, asked)
    return Planned(name, loaded, graph, shapes, seconds, sizes, weights)


def _asked(facts: Facts, stage: Stage) -> Passes:
    if stage.kind != "evaluate":
        return passes(facts, stage)
    read = TASK_TOKENS + sum(_lengths()[:HELDOUT])
    return Passes(read, by_kind={"evaluate": read, "gate": read * facts.share_of(stage.cell.arm or "")})


def _stored(facts: Facts, stage: Stage, asked: Passes) -> float:
    return 130.0 * (TASK_ITEMS + HELDOUT) if stage.kind == "evaluate" else stored(facts, stage, asked) or 0.0


def _speed(name: str, shapes: Shapes) -> Speed:
    """Seconds of a token: two operations a multiplication, forward and, for what is not updated, once backward."""
    forward = 2.0 * (shapes.products + shapes.head) / (PEAK * (SHARE_NF4 if name in NF4 else SHARE))
    factors = 2.0 * sum(32 * sum(layer.shape[-2:]) for layer in shapes.layers) / (PEAK * SHARE)
    kinds = {"read": forward, "evaluate": forward, "plain": 2 * forward, "gate": factors}
    kinds["train"] = kinds["plain"] + 3 * factors
    return Speed(name, "assumed", "", shapes.products, kinds, 0.0, None, 0.0, 0.0)
