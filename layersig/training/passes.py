"""Passes over batches that add something up: how far they are, and the sums, in one file that is complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open

from layersig.jsonform import parse_json
from layersig.models.tensor_file import later, write_tensors
from layersig.stages.interval import Interval
from layersig.store.files import write_through
from layersig.training.checkpoint import Memory

Piece = TypeVar("Piece")


def in_passes(
    path: Path, memory: Memory, pieces: Sequence[Piece], work: Callable[[int, Piece], None], device: torch.device
) -> None:
    """Do `work` for one piece after the other; killed and called again, it continues with what `memory` held.

    Args:
        path: The file, in a folder that survives an interruption.
        memory: Everything that `work` changes.
        pieces: What there is to do; the same every time.
        work: Does one, given its number and itself.
        device: Where the tensors of `memory` are.
    """
    interval = Interval()
    for number in range(_load(path, memory, device), len(pieces)):
        work(number, pieces[number])
        if number + 1 == len(pieces) or interval.over():
            interval.save(partial(_save, path, memory, number + 1))


def _save(path: Path, memory: Memory, done: int) -> None:
    tensors = {name: later(value) for name, value in memory.state().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_through(path, lambda target: write_tensors(target, tensors, {"done": str(done)}))


def _load(path: Path, memory: Memory, device: torch.device) -> int:
    """Restore what was saved; the number of pieces that are done, 0 where nothing readable was saved."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            done = parse_json((file.metadata() or {}).get("done", "").encode(), int)
            state = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return 0
    memory.restore(state)
    return done
