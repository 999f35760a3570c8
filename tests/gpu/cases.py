"""What is measured on a GPU. A case yields its rows one by one, so that those that are done count if it is cut."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from unittest.mock import patch

import torch

from layersig.fast import runner
from layersig.layers import Layer
from layersig.models.devices import free, peak_memory
from layersig.models.layermap import layer_map
from layersig.planning.gpu_memory import spread
from tests.benchmarks.gates import Factors, stage_two
from tests.benchmarks.harness import matrix_peak, seconds_of
from tests.benchmarks.training import arithmetic, logged
from tests.benchmarks.world import copies, tokens, trained
from tests.gpu import peers, texts
from tests.gpu.shapes import Setting, adapted
from tests.gpu.tables import Case, Note, Row


def peak(setting: Setting) -> Iterator[Row]:
    """The card itself."""
    for size in (256,) if setting.tiny else (4096, 8192, 16_384):
        yield f"product of two {size:,} x {size:,} matrices", f"{_peak(setting, size) / 1e12:.3g} TFLOP/s"
    source = torch.zeros(setting.few(2**32, 2**20) // 2, dtype=torch.bfloat16, device=setting.device)
    target = torch.empty_like(source)
    best = min([seconds_of(lambda: target.copy_(source), setting.device) for _ in range(6)][1:])
    yield "copy in its memory, bytes read and written", f"{2 * source.nbytes / best / 1e12:.3g} TB/s"


def _peak(setting: Setting, size: int = 8192) -> float:
    return matrix_peak(torch.bfloat16, setting.few(size, 256), device=setting.device)


def training(setting: Setting) -> Iterator[Row | Note]:
    """LoRA on all layers, by us and by others."""
    limit, base = _peak(setting), setting.model("7B")
    for dropout in (0.0, 0.1):
        model = adapted(base, dropout=dropout)
        yield from _compared(copies(model), setting, dropout, limit)
        base = model.unload()
    if not find_spec("trl"):
        yield Note("TRL is not installed here: not compared.")
    yield Note(f"Matrix peak measured in this process: {limit / 1e12:.3g} TFLOP/s.")
    yield Note("Unsloth is not compared: it replaces the model's own loading, which needs its files.")


def _compared(fresh: peers.Fresh, setting: Setting, dropout: float, limit: float) -> Iterator[Row]:
    found, batches = _batches(setting)
    work, best = arithmetic(fresh(), found, batches), 0.0
    others = {"Trainer + PEFT": peers.trainer, **({"TRL": peers.sft_trainer} if find_spec("trl") else {})}
    runs: list[tuple[str, bool, Callable[[], peers.Trained]]] = []
    for again in (False, True):
        runs += [(name, again, partial(run, fresh, found, batches, again)) for name, run in others.items()]
    runs += [("layersig", again, partial(_ours, fresh, found, batches, dropout, again)) for again in (False, True)]
    for name, again, run in runs:
        result = run()
        speed = tokens(found, batches) / result.seconds
        own = name == "layersig"
        best = best if own else max(best, speed)
        yield (
            f"{name}{', gradient checkpointing' if again else ''}, dropout {dropout:g}",
            result.how,
            f"{speed:,.0f}",
            _gib(result.memory),
            f"{speed / best:.2f}" if own else "",
            f"{work / result.seconds / limit:.0%}",
            f"{result.loss:.4f}",
        )
        free(setting.device)


def _ours(fresh: peers.Fresh, found, batches, dropout: float, again: bool, **more) -> peers.Trained:
    more = {"gradient_checkpointing": again, **more}
    logged(fresh(), found, batches[:1], dropout, **more)
    model = fresh()
    with peak_memory(model.device) as memory:
        log = logged(model, found, batches, dropout, **more)
    budget = more.get("micro_batch_tokens")
    return peers.Trained(log.seconds, memory.peak, log.steps[0].loss, f"{budget:,} tokens" if budget else "auto")


def stages(setting: Setting) -> Iterator[Row | Note]:
    """Stage 1, stage 2, and the training of selected layers."""
    base = setting.model("7B")
    found, batches = _batches(setting)
    budget = setting.few(8192, 128)
    model = adapted(base)
    fresh = copies(model)
    other = peers.trainer(fresh, found, batches, False, rows=setting.few(4, 2))
    yield _stage("Trainer + PEFT, all layers", found, batches, other, other, other)
    first = _ours(fresh, found, batches, 0.0, False, micro_batch_tokens=budget)
    yield _stage("stage 1: LoRA on all layers", found, batches, first, first, other)
    update = Factors(model)
    base = model.unload().requires_grad_(False)
    logs = [stage_two(base, update, found, batches[:1], micro_batch_tokens=budget)]
    with peak_memory(setting.device) as memory:
        logs.append(stage_two(base, update, found, batches, micro_batch_tokens=budget))
    second = peers.Trained(logs[1].seconds, memory.peak, logs[1].steps[0].loss, f"{budget:,} tokens")
    yield _stage("stage 2: the gates of its update", found, batches, second, first, other)
    del update
    chosen = spread(_blocks(base), 0.3)
    part = adapted(base, layers=[layer.name for layer in chosen])
    few = _ours(copies(part), found, batches, 0.0, False, micro_batch_tokens=budget)
    yield _stage(f"LoRA on {len(chosen)} layers (30 %)", found, batches, few, first, other)
    yield Note("Micro-batches are alike, so that memory can be compared.")


def _stage(
    name: str, found, batches, own: peers.Trained, first: peers.Trained, other: peers.Trained
) -> tuple[str, ...]:
    return (
        name,
        own.how,
        f"{tokens(found, batches) / own.seconds:,.0f}",
        f"{own.seconds / first.seconds:.2f}",
        _gib(own.memory),
        f"{own.memory / other.memory:.2f}",
    )


def _blocks(model) -> list[Layer]:
    return [layer for layer in layer_map(model) if layer.block is not None]


def determinism(setting: Setting) -> Iterator[Row]:
    """What equal bits cost."""
    model = adapted(setting.model("7B"))
    found, batches = _batches(setting)
    fresh = copies(model)

    def run() -> tuple[float, dict[str, torch.Tensor]]:
        log = logged(fresh(), found, batches, 0.0, micro_batch_tokens=setting.few(8192, 128))
        return log.seconds, {name: value.detach().clone() for name, value in trained(model).items()}

    run()
    strict = [run() for _ in range(2)]
    with patch.object(runner, "deterministic", lambda device: nullcontext()):
        run()
        loose = [run() for _ in range(2)]
    times = [statistics.mean(seconds for seconds, _ in runs) for runs in (strict, loose)]
    for name, runs, seconds in zip(("deterministic", "not deterministic"), (strict, loose), times, strict=True):
        same = all(torch.equal(value, runs[1][1][key]) for key, value in runs[0][1].items())
        yield (
            name,
            f"{seconds / len(batches):.3f}",
            f"{seconds / times[1]:.3f}",
            "yes" if same else "no",
        )


def _batches(setting: Setting):
    """Conversations, and optimizer batches of them, the longest first in each: kind to those who pad."""
    size, steps = setting.few(32, 4), setting.few(3, 2)
    found = setting.conversations(size * steps)
    batches = [range(start, start + size) for start in range(0, size * steps, size)]
    return found, [sorted(batch, key=lambda index: -len(found[index])) for batch in batches]


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


CASES: Mapping[str, Case] = {
    "peak": Case("The card", "The best of several runs, bfloat16.", ("", "measured"), 40, peak),
    "training": Case(
        "Training",
        "LoRA of rank 32 on all linear layers of the blocks of a random model of Llama-2-7B's shape: bfloat16 weights, "
        "float32 factors, AdamW, optimizer batches of 32 conversations whose lengths are spread like those of No "
        "Robots (log-normal, 330 +- 280 tokens). The same batches for all, the longest conversation first; others take "
        "the largest micro-batch of a power of two that fits, in bfloat16 autocast. Real tokens a second.",
        (
            "",
            "micro-batch",
            "tokens/s",
            "peak memory",
            "times the best other",
            "of the matrix peak",
            "loss of the first step",
        ),
        170,
        training,
    ),
    "stages": Case(
        "Stage 2 and 30 % of the layers",
        "The same model and batches: stage 1 of ILA trains all layers, stage 2 the gates of its update, and then the "
        "selected layers are trained.",
        ("", "micro-batch", "tokens/s", "time over stage 1", "peak memory", "of the memory of Trainer"),
        110,
        stages,
    ),
    "determinism": Case(
        "Determinism",
        "Stage 1 in torch's strict deterministic mode, as every training runs, and without it.",
        ("", "seconds a step", "of the time without", "two runs give the same bits"),
        70,
        determinism,
    ),
    "evaluation": Case(
        "Evaluation",
        "Log-likelihoods on a random model of Llama-3.1-8B's shape in bfloat16, of items shaped like those of MMLU (5 "
        "shots that a subject's items share) and HellaSwag (four endings). The faster of two batch sizes of lm-eval's "
        "`hf` counts.",
        ("", "requests", "layersig", "lm-eval `hf`", "ratio", "largest difference of a log-likelihood"),
        110,
        texts.evaluation,
    ),
    "decoding": Case(
        "Generation",
        "128 new tokens after each of 64 prompts of unequal length, on a random model of Llama-3.1-8B's shape in "
        "bfloat16.",
        ("", "new tokens/s", "milliseconds a step of all rows", "peak memory"),
        80,
        texts.decoding,
    ),
}
