"""The state of an interrupted training, in one file that is complete or absent."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from layersig.errors import StageFailed
from layersig.jsonform import dumps, parse_json
from layersig.store.files import write_atomic
from layersig.training.callbacks import Callback, TrainingState
from layersig.training.log import Step, StepForm

CHECKPOINT = "training.safetensors"
SECONDS = 60.0
"""Wall time between two checkpoints."""

_OPTIMIZER = re.compile("optimizer/([0-9]{1,9})/([^/]+)")


class Memory(Protocol):
    """Something that a training remembers between steps besides parameters and optimizer."""

    def state(self) -> Mapping[str, Tensor]:
        """All of it."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""


class Checkpoints(Callback):
    """Writes the state of a training from time to time, and resumes from it.

    If the folder holds a checkpoint of the same parameters, the training continues from there and ends bit for bit as
    if it had never been interrupted; no moment of the steps before comes again. A checkpoint is also written on an
    interrupt or a failure, and where the training ends before its planned length. This callback belongs behind those
    whose `after_step` keeps something: a step counts as done only when all of that is kept.

    Args:
        folder: Where the file is.
        memory: What else must be remembered between steps.
    """

    def __init__(self, folder: Path, memory: Memory | None = None) -> None:
        self._folder, self._memory = folder, memory
        self._state: TrainingState | None = None
        self._saved = 0.0
        self._consistent = True

    @contextmanager
    def during(self, state: TrainingState) -> Iterator[None]:
        """Restore the last checkpoint; keep one more of a training that ends early."""
        self._state, self._saved, self._consistent = state, time.monotonic(), True
        load_checkpoint(self._folder, state, self._memory)
        try:
            yield
        except (KeyboardInterrupt, StageFailed):
            # An interrupt between an update and the end of its step leaves the checkpoint before it.
            if self._consistent:
                save_checkpoint(self._folder, state, self._memory)
            raise
        if len(state.steps) < state.planned:
            save_checkpoint(self._folder, state, self._memory)

    def before_update(self, number: int) -> None:
        """From here to the end of the step, parameters and log do not belong together."""
        self._consistent = False

    def after_step(self, step: Step) -> None:
        """Save if it is time to."""
        assert self._state is not None
        self._consistent = True
        if time.monotonic() - self._saved > SECONDS:
            save_checkpoint(self._folder, self._state, self._memory)
            self._saved = time.monotonic()


def save_checkpoint(folder: Path, state: TrainingState, memory: Memory | None = None) -> None:
    """Write parameters, optimizer state, memory and log after the last step done."""
    tensors = {f"parameter/{name}": value.detach() for name, value in state.parameters.items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in moments.items()}
    for name, value in (memory.state() if memory is not None else {}).items():
        tensors[f"memory/{name}"] = value
    metadata = {"steps": dumps([step.to_json() for step in state.steps])}
    write_atomic(folder / CHECKPOINT, save({name: value.contiguous() for name, value in tensors.items()}, metadata))


def load_checkpoint(folder: Path, state: TrainingState, memory: Memory | None = None) -> None:
    """Put what `save_checkpoint` wrote back in place; nothing changes without a readable one of the same parameters."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            rows = parse_json((file.metadata() or {}).get("steps", "").encode(), list[StepForm])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if (found := _OPTIMIZER.fullmatch(name)) is not None:
            moments.setdefault(int(found[1]), {})[found[2]] = value
    saved = {name: value for name, value in tensors.items() if name.startswith("parameter/")}
    if {name: value.shape for name, value in saved.items()} != {
        f"parameter/{name}": value.shape for name, value in state.parameters.items()
    }:
        return
    with torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(saved[f"parameter/{name}"])
    if memory is not None:
        memory.restore({n.removeprefix("memory/"): value for n, value in tensors.items() if n.startswith("memory/")})
    state.optimizer.load_state_dict({"state": moments, "param_groups": state.optimizer.state_dict()["param_groups"]})
    state.steps[:] = [Step(**row) for row in rows]
