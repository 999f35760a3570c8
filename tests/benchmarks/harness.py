"""Alternating measurements, their medians and ratios, and the arithmetic limits that stand beside them."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of a competitor, one entry a repeat."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the range over the median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median


@dataclass(frozen=True)
class Table:
    """What a case has to show: rows of text, and what the numbers are about."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.about, "", "| " + " | ".join(self.columns) + " |"]
        lines.append("| " + " | ".join(["---", *["---:"] * (len(self.columns) - 1)]) + " |")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def alternate(
    competitors: Mapping[str, Callable[[], float | None]], repeats: int, *, warm: bool = False
) -> dict[str, Timing]:
    """Run all competitors once to warm up, unless they are warm, then `repeats` times in turn.

    A competitor returns the seconds it measured itself, or None for the wall time of the whole call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for repeat in range(1 if warm else 0, repeats + 1):
        for name, run in competitors.items():
            gc.collect()
            began = time.perf_counter()
            measured = run()
            wall = time.perf_counter() - began
            if repeat:
                seconds[name].append(wall if measured is None else measured)
            sys.stderr.write(f"  {repeat}/{repeats} {name}: {wall if measured is None else measured:.2f} s\n")
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def ratio(other: Timing, ours: Timing) -> str:
    """Ratio of medians, and the range of the ratios of neighbouring runs."""
    pairs = [theirs / mine for theirs, mine in zip(other.seconds, ours.seconds, strict=True)]
    return f"{other.median / ours.median:.2f} ({min(pairs):.2f} to {max(pairs):.2f})"


def matrix_peak(dtype: torch.dtype, size: int = 4096, repeats: int = 5, device: torch.device | str = "cpu") -> float:
    """Floating-point operations a second of the largest matrix product that is kind to the machine."""
    left, right = (torch.randn(size, size, dtype=torch.float32, device=device).to(dtype) for _ in range(2))
    best = min([seconds_of(lambda: left @ right, left.device) for _ in range(1 + repeats)][1:])
    return 2 * size**3 / best


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of some work, with what it has put onto the device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began
