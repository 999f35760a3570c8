"""Where the time of a training step goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch.profiler import profile

from tests.benchmarks import world
from tests.benchmarks.harness import Table, matrix_peak
from tests.benchmarks.training import ours

_PRODUCTS = {"aten::mm": (0, 1), "aten::addmm_": (1, 2), "aten::bmm": (0, 1)}


def _kind(name: str, shapes: Sequence[Sequence[int]], vocabulary: int) -> str:
    if name in _PRODUCTS:
        sizes = [size for place in _PRODUCTS[name] for size in shapes[place]]
        if name == "aten::bmm":
            return "products of attention"
        if vocabulary in sizes:
            return "products of the head"
        return "products of factors" if world.RANK in sizes else "products of frozen weights"
    if "softmax" in name:
        return "softmax"
    if name in {"aten::copy_", "aten::fill_", "aten::zero_", "aten::cat", "aten::empty_strided", "aten::empty"}:
        return "copies, casts, allocation"
    if name.startswith("aten::"):
        return "element by element, sums"
    return "Python between operations"


def _operations(name: str, shapes: Sequence[Sequence[int]], calls: int) -> int:
    """Floating-point operations of matrix products."""
    if name not in _PRODUCTS:
        return 0
    left, right = (shapes[place] for place in _PRODUCTS[name])
    batch = left[0] if name == "aten::bmm" else 1
    return 2 * batch * left[-2] * left[-1] * right[-1] * calls


def breakdown(spec: str) -> Table:
    found = world.examples(spec)
    chosen = world.batches(found, 1, grouped=True)
    model = world.peft_model(dropout=0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours(model, found, chosen, 0.0)
        with profile(record_shapes=True) as recorded:
            seconds = ours(model, found, chosen, 0.0)
        peak = matrix_peak(torch.bfloat16)
    finally:
        torch.set_num_threads(threads)
    times, work = Counter(), Counter()
    for event in recorded.key_averages(group_by_input_shape=True):
        kind = _kind(event.key, event.input_shapes, model.config.vocab_size)
        times[kind] += event.self_cpu_time_total / 1e6
        work[kind] += _operations(event.key, event.input_shapes, event.count)
    whole = sum(times.values())
    rows = [
        [
            kind,
            f"{each:.2f} s",
            f"{each / whole:.0%}",
            f"{work[kind] / each / 1e9:.0f}" if work[kind] else "",
            f"{work[kind] / peak / whole:.0%}" if work[kind] else "",
        ]
        for kind, each in times.most_common()
    ]
    return Table(
        "Where the time of training goes",
        f"One step of {len(chosen[0])} examples, {world.tokens(found, chosen)} tokens, dropout 0, in one lane of one "
        "thread, under torch's profiler.",
        ["", "time", "share", "GFLOP/s", "share if at the matrix peak"],
        rows,
        [
            f"bfloat16 matrix peak of one thread: {peak / 1e9:.0f} GFLOP/s; the step took {seconds:.2f} s. Scores of "
            "attention are taken in float32.",
        ],
    )
