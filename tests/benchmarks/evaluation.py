"""Benchmarks through our lm-eval model and through lm-eval's own `hf`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.sources.resolve import resolve
from layersig.streams import Streams
from tests.benchmarks import world
from tests.benchmarks.harness import Table, alternate, ratio

HF_BATCHES = (4, 16)


class _Kept:
    """An lm-eval model, and what it said last."""

    def __init__(self, model: LM, task: ResolvedTask) -> None:
        self.model, self.task = model, task
        self.answers: list[tuple[float, bool]] = []
        self.accuracy: dict[str, float] = {}
        own = model.loglikelihood

        def kept(requests, **options):
            self.answers = own(requests, **options)
            return self.answers

        model.loglikelihood = kept

    def run(self) -> None:
        found = score_task(self.task, self.model)
        self.accuracy = {str(outcome.item): outcome.value for outcome in found.outcomes if outcome.metric == "acc"}


def task(name: str, items: int, parts: int | None = None, shots: int | None = None) -> ResolvedTask:
    """The first items of a benchmark, of each of its first parts if there are several."""
    settings = TaskSettings(source=f"pypi:{name}", shots=shots)
    whole = load_task(settings, resolve(settings.source, "benchmark", world.request()).path, Streams(0))
    for part in whole.parts:
        part.chosen = list(range(min(items, len(part.scored_rows))))
    return whole.with_parts(whole.parts[:parts])


def speed(tasks: dict[str, Callable[[], ResolvedTask]], dtype: torch.dtype, repeats: int) -> Table:
    model, tokenizer = world.base_model(dtype).eval(), world.tokenizer()
    rows = []
    for title, build in tasks.items():
        shown = build()
        kept = {"layersig": _Kept(SharedPrefixLM(model, tokenizer), shown)}
        for size in HF_BATCHES:
            hf = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, device="cpu")
            kept[f"lm-eval hf, batch {size}"] = _Kept(hf, shown)
        # Once each, which warms up and shows the better batch size of `hf`: it alone is measured then.
        first = alternate({name: each.run for name, each in kept.items()}, 1, warm=True)
        best = min((name for name in first if name != "layersig"), key=lambda name: first[name].median)
        timings = alternate({name: kept[name].run for name in ("layersig", best)}, repeats, warm=True)
        mine, other = kept["layersig"], kept[best]
        apart = max(abs(a[0] - b[0]) for a, b in zip(mine.answers, other.answers, strict=True))
        flips = _flips(mine, other)
        selves = _flips(*(kept[name] for name in kept if name != "layersig"))
        rows.append(
            [
                title,
                str(len(mine.accuracy)),
                f"{timings['layersig'].median:.1f} s",
                f"{timings[best].median:.1f} s ({best.removeprefix('lm-eval hf, ')})",
                ratio(timings[best], timings["layersig"]),
                f"{apart:.1e}",
                f"{flips} ({flips / len(mine.accuracy):.1%})",
                f"{selves} ({selves / len(mine.accuracy):.1%})",
            ]
        )
    return Table(
        f"Evaluation, {str(dtype).removeprefix('torch.')}",
        "The same items of the embedded benchmarks through both; the faster of two batch sizes of `hf` counts.",
        [
            "",
            "items",
            "layersig",
            "lm-eval hf",
            "ratio",
            "largest difference of a log-likelihood",
            "outcomes that differ",
            "hf against itself at another batch size",
        ],
        rows,
    )


def _flips(one: _Kept, other: _Kept) -> int:
    return sum(value != other.accuracy[item] for item, value in one.accuracy.items())
