"""Measure everything and write `docs/benchmarks.md`: `python -m tests.benchmarks [CASE ...] [--data FILE ...]`."""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from tests.benchmarks import (
    ablated,
    breakdown,
    endurance,
    evaluation,
    gates,
    growth,
    planned,
    scorers,
    selection,
    training,
    wholes,
    world,
)
from tests.benchmarks.harness import Table

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "lm_eval")


def cases(data: dict[str, str], steps: int, repeats: int) -> dict[str, Callable[[], Table]]:
    first = next(iter(data.values()))
    tasks = {
        "HellaSwag, 0-shot": lambda: evaluation.task("hellaswag", 60),
        "ARC-Easy, 0-shot": lambda: evaluation.task("arc_easy", 60, shots=0),
        "MMLU, 5-shot": lambda: evaluation.task("mmlu", 40, parts=1),
    }
    return {
        "training": lambda: training.speed(data, (0.0, 0.1), steps, repeats),
        "breakdown": lambda: breakdown.breakdown(first),
        "equality": lambda: training.equality(first, 8),
        "gates": lambda: gates.speed(first, steps, repeats),
        "scorers": lambda: scorers.costs(first),
        "ablated": lambda: ablated.stability(*ablated.measured(first)),
        "selection": lambda: selection.speed(first, steps, repeats),
        "evaluation": lambda: evaluation.speed(tasks, torch.float32, repeats),
        "evaluation-bf16": lambda: evaluation.speed(tasks, torch.bfloat16, repeats),
        "growth": lambda: growth.growth(repeats),
        "memory": endurance.memory,
        "grid": endurance.grid,
        "planned": planned.planned,
        "waits": lambda: wholes.waits(repeats),
    }


def machine() -> str:
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES if find_spec(name) is not None)
    return (
        f"{cpu or platform.processor()}, {torch.get_num_threads()} threads, {memory:.0f} GiB, {platform.system()}; "
        f"Python {platform.python_version()}, {packages}."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="which; all when none is named")
    parser.add_argument(
        "--data", nargs="*", default=[], metavar="FILE", help="JSONL files to train on, instead of ours"
    )
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = {Path(path).stem: f"file:{path}" for path in options.data} or {"Alpaca-GPT4 sample": world.EMBEDDED_DATA}
    known = cases(data, options.steps, options.repeats)
    if unknown := set(options.cases) - set(known):
        parser.error(f"unknown case: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    parts = kept_parts()
    for name, run in known.items():
        if not options.cases or name in options.cases:
            sys.stderr.write(f"{name}\n")
            stamp = f"Measured on {datetime.date.today().isoformat()}: {machine()}"
            parts[name] = f"{run().markdown()}\n{stamp}\n"
            _write(parts, list(known))


def kept_parts() -> dict[str, str]:
    """What earlier calls measured, so that cases can be measured one by one."""
    if not PAGE.is_file():
        return {}
    pieces = PAGE.read_text(encoding="utf-8").split("<!-- case ")[1:]
    return {piece.split(" -->\n")[0]: piece.split(" -->\n")[1].strip() + "\n" for piece in pieces}


def _write(parts: dict[str, str], order: list[str]) -> None:
    lines = [
        "# Benchmarks",
        "",
        "Each table compares layersig with the tools that you would otherwise use, on the same work and in one "
        "process; they take turns after a warm-up. Values are medians, with half the range as the spread; ratios of "
        "neighbouring turns are in brackets. `make bench` writes this page, one case at a time. How closely results "
        "agree is given beside each ratio for evaluation, and in a table of its own for training.",
        "",
    ]
    lines += [f"<!-- case {name} -->\n{parts[name]}" for name in order if name in parts]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.exit(0)
