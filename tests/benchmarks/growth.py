"""How time and memory grow with the work, against what the arithmetic says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import altair
import numpy as np
import torch
import vl_convert
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from layersig.data.examples import Example
from layersig.models.devices import peak_memory
from layersig.stages.job import Silent
from layersig.streams import Streams
from layersig.training.loop import train
from tests.benchmarks import world
from tests.benchmarks.harness import Table
from tests.benchmarks.training import settings
from tests.benchmarks.world import CPU

FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "growth.svg"

_LENGTH, _BATCH, _RANK, _BLOCKS = 256, 4, 32, 12

# Shapes of common sizes, for memory that is counted and not used.
_SHAPES = {
    "135 M": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
              "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True},
    "1 B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True},
    "7 B": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32, "vocab_size": 32000},
}  # fmt: skip


@lru_cache(maxsize=1)
def _model(blocks: int, rank: int):
    config = AutoConfig.from_pretrained(world.model_folder())
    config.num_hidden_layers = blocks
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return _adapted(base, rank)


def _adapted(base, rank: int, targets: object = "all-linear"):
    return get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM"))


def _examples(batch: int, length: int) -> list[Example]:
    rng = np.random.default_rng(0)
    targets = np.ones(length, bool)
    targets[: length // 4] = False
    return [
        Example(str(number), str(number), rng.integers(5, 49_000, length).astype(np.int32), targets)
        for number in range(batch)
    ]


def _step(model, found: Sequence[Example], repeats: int) -> tuple[float, int]:
    """Median seconds of an optimizer step, and how far memory rises above the model's."""
    model.zero_grad()  # gradients count as growth, whoever had the model before
    batches = [range(len(found))] * (repeats + 1)
    rule = settings(0.0).model_copy(update={"micro_batch_tokens": 1 << 20})
    with peak_memory(CPU) as memory:
        log = train(model, world.trained(model), found, batches, rule, Streams(0, 0), reporter=Silent(), device=CPU)
    return float(np.median([step.seconds for step in log.steps[1:]])), memory.growth


def _exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of logarithms over the upper half of the sizes, where constant costs have faded."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def growth(repeats: int) -> Table:
    axes: dict[str, tuple[Sequence[int], Callable[[int], tuple[float, int]], str]] = {
        "sequence length": (
            (64, 128, 256, 512, 1024),
            lambda size: _step(_model(_BLOCKS, _RANK), _examples(_BATCH, size), repeats),
            "1, with a part of 2 for attention",
        ),
        "batch": (
            (1, 2, 4, 8),
            lambda size: _step(_model(_BLOCKS, _RANK), _examples(size, _LENGTH), repeats),
            "1",
        ),
        "rank": (
            (8, 16, 32, 64, 128),
            lambda size: _step(_model(_BLOCKS, size), _examples(_BATCH, _LENGTH), repeats),
            "below 1: factors are a tenth of the work at 32",
        ),
        "blocks": (
            (4, 8, 16, 30),
            lambda size: _step(_model(size, _RANK), _examples(_BATCH, _LENGTH), repeats),
            "1, less what the head takes",
        ),
    }
    rows, points = [], []
    for name, (sizes, measure, expected) in axes.items():
        found = [measure(size) for size in sizes]
        rows.append(
            [
                name,
                ", ".join(map(str, sizes)),
                ", ".join(f"{seconds:.2f}" for seconds, _ in found),
                f"{_exponent(sizes, [seconds for seconds, _ in found]):.2f}",
                ", ".join(f"{memory / 2**20:.0f}" for _, memory in found),
                f"{_exponent(sizes, [max(memory, 1) for _, memory in found]):.2f}",
                expected,
            ]
        )
        points += [{"axis": name, "size": size, "seconds": each[0]} for size, each in zip(sizes, found, strict=True)]
    _draw(points)
    return Table(
        "Growth",
        f"One optimizer step of SmolLM2-135M's shape with {_BLOCKS} blocks, {_BATCH} examples of {_LENGTH} "
        f"tokens and rank {_RANK}, one of these varied at a time; exponents over the upper half of the "
        "sizes. Memory is what the step adds to the model.\n\n![time over size](figures/growth.svg)",
        ["varied", "sizes", "seconds", "exponent", "MiB", "exponent", "arithmetic"],
        rows,
        _counted(),
    )


def _counted() -> list[str]:
    """Memory at common sizes, counted on the meta device."""
    notes = []
    for title, shape in _SHAPES.items():
        with torch.device("meta"):
            base = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=torch.bfloat16)
            weights = sum(parameter.numel() for parameter in base.parameters())
            linear = [name for name, module in base.model.named_modules() if isinstance(module, torch.nn.Linear)]
            order = torch.randperm(len(linear), generator=torch.Generator("cpu").manual_seed(0), device="cpu").tolist()
            every, some = (
                sum(_RANK * sum(base.model.get_submodule(linear[index]).weight.shape) for index in chosen)
                for chosen in (order, order[: round(0.3 * len(order))])
            )
        notes.append(
            f"{title} parameters (counted on the meta device): weights {2 * weights / 2**30:.2f} GiB in bfloat16; "
            f"factors, gradients and AdamW's moments at rank {_RANK} {16 * every / 2**20:.0f} MiB for all "
            f"layers, {16 * some / 2**20:.0f} MiB ({some / every:.2f}) for a scattered 30 %."
        )
    return notes


def _draw(points: list[dict[str, object]]) -> None:
    chart = (
        altair.Chart(altair.Data(values=points))
        .mark_line(point=True)
        .encode(
            x=altair.X("size:Q", scale=altair.Scale(type="log"), title=None),
            y=altair.Y("seconds:Q", scale=altair.Scale(type="log"), title="seconds a step"),
            facet=altair.Facet("axis:N", columns=4, title=None),
        )
        .properties(width=160, height=160)
        .resolve_scale(x="independent")
    )
    FIGURE.parent.mkdir(exist_ok=True)
    FIGURE.write_text(vl_convert.vegalite_to_svg(chart.to_json()), encoding="utf-8")
