"""What grows with time and size alone: memory over a thousand steps, and the answers of a study of 2,000 stages."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from lm_eval.api.instance import Instance

from layersig.cli.main import main
from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.data.examples import Example, Examples
from layersig.evaluating.heldout import heldout_losses
from layersig.evaluating.kept import KeptAnswers
from layersig.evaluating.model import SharedPrefixLM
from layersig.fast.runner import Workload
from layersig.generating.chats import Chat, answer_chats
from layersig.generating.sampling import Sampling
from layersig.layers import Unit
from layersig.models.adapters import inject_lora
from layersig.models.layermap import layer_map
from layersig.recipe.schema import TrainSettings
from layersig.scoring.stage import score
from layersig.stages.job import Job, Silent
from layersig.streams import Streams
from layersig.training.callbacks import Progress
from layersig.training.checkpoint import Checkpoints
from layersig.training.loop import train
from layersig.training.optimization import Optimization
from tests.benchmarks.harness import Table
from tests.scoring.world import World, low_rank
from tests.study import RECIPE, write_study
from tests.tiny import tiny_batch, tiny_model, tiny_tokenizer

STEPS = 1_000
_SETTLED = 200
"""Steps in which libraries fill their caches."""
_SEEDS = 250


class Watch(Silent):
    """A reporter that notes the resident memory after every step."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._process = psutil.Process()

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        if amount > 0:
            self.sizes.append(self._process.memory_info().rss)


def memory() -> Table:
    """Resident memory of every loop, on a tiny model."""
    rows = []
    for name, loop in LOOPS.items():
        gc.collect()
        watch = Watch()
        with tempfile.TemporaryDirectory() as folder:
            loop(Path(folder), watch)
        sizes = np.array(watch.sizes)
        settled = sizes[len(sizes) * _SETTLED // STEPS :]
        slope = np.polyfit(np.arange(len(settled)), settled, 1)[0]
        rows.append(
            [
                name,
                f"{len(sizes):,}",
                f"{settled[0] / 2**20:.1f}",
                f"{settled[-1] / 2**20:.1f}",
                f"{(settled[-1] - settled[0]) / 2**20:+.1f}",
                f"{slope / 2**10:+.2f}",
            ]
        )
    return Table(
        "Memory over a thousand steps",
        "Resident memory of the process in MiB while a loop runs on a tiny model, after the first fifth of its steps "
        "and at its end; the slope is that of a line through all steps between. What is kept of every step on purpose "
        "is in it: a row of the log, a line of the answers.",
        ["loop", "steps", "after a fifth", "at the end", "growth", "KiB a step"],
        rows,
    )


def _training(folder: Path, watch: Watch) -> None:
    model = tiny_model("llama")
    adapted = inject_lora(model, list(layer_map(model)), rank=4, alpha=8, dropout=0.1, streams=Streams(0))
    parameters = {name: each for name, each in adapted.named_parameters() if each.requires_grad}
    examples = _examples(32)
    batches = [[(4 * step + place) % len(examples) for place in range(4)] for step in range(STEPS)]
    settings = TrainSettings(batch_size=4, micro_batch_tokens=64)
    work = Workload(adapted, parameters, examples, batches, settings, Streams(0))
    train(work, Optimization("adamw", 1e-3), [Checkpoints(folder), Progress(watch)])


def _scorer(name: str, **params: object) -> Callable[[Path, Watch], None]:
    def run(folder: Path, watch: Watch) -> None:
        world = World(folder)
        generator = torch.Generator().manual_seed(1)
        world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
        world.write_data(tiny_batch(rows=64, length=16).tolist())
        job: Job = world.job(name, params, unit=Unit.MODULE)
        object.__setattr__(job, "reporter", watch)
        score(job)

    return run


def _generation(folder: Path, watch: Watch) -> None:
    chats = [Chat(str(number), (Message("user", f"say {number}"),)) for number in range(STEPS)]
    answer_chats(
        tiny_model("llama"),
        ChatFormat(tiny_tokenizer(), "auto"),
        chats,
        Streams(0),
        max_new_tokens=8,
        sampling=Sampling(1.0),
        batch_tokens=1,
        done=lambda finished, tokens: watch.advance(finished),
    )


def _heldout(folder: Path, watch: Watch) -> None:
    kept = KeptAnswers(folder / "answers.jsonl")
    heldout_losses(tiny_model("llama"), _examples(STEPS), "x", 1, lambda done, _: watch.advance(done), kept)


def _task(folder: Path, watch: Watch) -> None:
    model = SharedPrefixLM(
        tiny_model("llama"),
        tiny_tokenizer(),
        batch_tokens=1,
        reporter=watch,
        kept=KeptAnswers(folder / "answers.jsonl"),
    )
    model.loglikelihood(
        [
            Instance("loglikelihood", {}, (f"{number} is", f" {number % 7}"), 0, metadata=("x", number, 1))
            for number in range(3 * STEPS)  # about three share a batch
        ]
    )


def _examples(count: int) -> Examples:
    rows = tiny_batch(rows=count, length=16).tolist()
    return Examples.of(
        [Example(str(n), str(n), np.array(row, np.int32), np.arange(16) > 3) for n, row in enumerate(rows)]
    )


LOOPS: dict[str, Callable[[Path, Watch], None]] = {
    "training": _training,
    "mask learning": _scorer("ila", steps=STEPS),
    "scoring: gradients of all layers": _scorer("gradient-norm", batches=STEPS),
    "scoring: leave one out, 48 passes a step": _scorer("leave-one-out", batches=48),
    "generation": _generation,
    "evaluation: held-out loss": _heldout,
    "evaluation: a task": _task,
}


def grid() -> Table:
    """How long verbs take on a study of about 2,000 stages, all of them in the cache."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, _at(Path(folder)):
        recipe = RECIPE.replace("seeds = [0]", f"seeds = {list(range(_SEEDS))}").replace("steps = 3", "steps = 1")
        recipe = recipe.replace('tasks = ["file:choice.yaml"]', "") + "[analyze]\ncontrols = false\nresamples = 100\n"
        write_study(Path(folder), recipe=recipe)
        _call("run", "recipe.toml")
        stages = len(list(Path("cache/stages").glob("*/*")))
        for title, *arguments in (
            ("`status`", "status", "tiny"),
            ("`plan`", "plan", "recipe.toml"),
            ("`run`, cached and reported already", "run", "recipe.toml"),
            ("`run` in another folder, cached", "run", "recipe.toml", "--runs", "other"),
            ("`clean`", "clean", "--json"),
        ):
            began = time.perf_counter()
            _call(*arguments)
            rows.append([title, f"{time.perf_counter() - began:.1f} s"])
    return Table(
        "A large study",
        f"A grid of {stages:,} stages ({_SEEDS} seeds of a tiny study), all of them in the cache; in a process that "
        "has imported everything. A run in another folder links every file and writes the report, whose statistics "
        "grow with seeds and items.",
        ["", "time"],
        rows,
    )


@contextlib.contextmanager
def _at(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    os.environ["LAYERSIG_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.chdir(before)
        del os.environ["LAYERSIG_CACHE"]


def _call(*arguments: str) -> None:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
        pytest.raises(SystemExit) as ended,
    ):
        main(["--debug", *arguments])
    assert not ended.value.code, said.getvalue()
