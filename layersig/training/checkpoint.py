"""The state of an interrupted training, in one file that is complete or absent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from layersig.distributed.sharding import split_like
from layersig.distributed.world import world
from layersig.jsonform import dumps, parse_json
from layersig.models.tensor_file import later, write_tensors
from layersig.stages.interval import Interval
from layersig.store.files import write_through
from layersig.training.callbacks import Callback, TrainingState
from layersig.training.log import Step, StepForm
from layersig.training.optimizers import restore_moments

CHECKPOINT = "training.safetensors"
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
    interrupt or a failure, such as a lack of memory, and where the training ends before its planned length. This
    callback belongs behind those whose `after_step` keeps something: a step counts as done only when all of that is
    kept.

    Args:
        folder: Where the file is.
        memory: What else must be remembered between steps.
        end: Whether a checkpoint is written at the planned end too, for work that follows the training.
    """

    def __init__(self, folder: Path, memory: Memory | None = None, *, end: bool = False) -> None:
        self._folder, self._memory, self._end = folder, memory, end
        self._state: TrainingState | None = None
        self._interval = Interval()
        self._consistent = True

    @contextmanager
    def during(self, state: TrainingState) -> Iterator[None]:
        """Restore the last checkpoint; keep one more of a training that ends early."""
        self._state, self._interval, self._consistent = state, Interval(), True
        load_checkpoint(self._folder, state, self._memory)
        try:
            yield
        except BaseException:
            # An interrupt between an update and the end of its step leaves the checkpoint before it. Parts that other
            # processes hold cannot be asked for: these may have failed, or be elsewhere.
            if self._consistent and world().first and not world().sharded:
                save_checkpoint(self._folder, state, self._memory)
            raise
        if self._end or len(state.steps) < state.planned:
            save_checkpoint(self._folder, state, self._memory)

    def before_update(self, number: int) -> None:
        """From here to the end of the step, parameters and log do not belong together."""
        self._consistent = False

    def after_step(self, step: Step) -> None:
        """Save if it is time to."""
        assert self._state is not None
        self._consistent = True
        if self._is_due():
            self._interval.save(partial(save_checkpoint, self._folder, self._state, self._memory))

    def _is_due(self) -> bool:
        """Whether to save. All processes save the parts of a sharded model together, so one clock decides."""
        several, due = world(), self._interval.over()
        return several.broadcast(due) if several.sharded else several.first and due


def save_checkpoint(folder: Path, state: TrainingState, memory: Memory | None = None) -> None:
    """Write parameters, optimizer state, memory and log after the last step done, one tensor after the other."""
    tensors = {f"parameter/{name}": value.detach() for name, value in state.parameters.items()}
    for index, moments in enumerate(state.optimizer.state.get(each, {}) for each in _moved(state)):
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    for name, value in (memory.state() if memory is not None else {}).items():
        tensors[f"memory/{name}"] = value
    metadata = {"steps": dumps([step.to_json() for step in state.steps])}
    folder.mkdir(parents=True, exist_ok=True)
    write_through(
        folder / CHECKPOINT,
        lambda path: write_tensors(path, {name: later(value) for name, value in tensors.items()}, metadata),
    )


def load_checkpoint(folder: Path, state: TrainingState, memory: Memory | None = None) -> None:
    """Put what `save_checkpoint` wrote back in place; nothing changes without a readable one of the same parameters."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            rows = parse_json((file.metadata() or {}).get("steps", "").encode(), list[StepForm])
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return
    due = {f"parameter/{name}": tuple(value.shape) for name, value in state.parameters.items()}
    if {name: shape for name, shape in shapes.items() if name.startswith("parameter/")} != due:
        return
    moments: dict[int, list[str]] = {}
    for name in shapes:
        if (found := _OPTIMIZER.fullmatch(name)) is not None:
            moments.setdefault(int(found[1]), []).append(found[2])
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(split_like(file.get_tensor(f"parameter/{name}"), parameter))
        for place, keys in moments.items():
            restore_moments(state.optimizer, place, {key: file.get_tensor(f"optimizer/{place}/{key}") for key in keys})
        if memory is not None:
            kept = [name for name in shapes if name.startswith("memory/")]
            memory.restore({name.removeprefix("memory/"): file.get_tensor(name) for name in kept})
    state.steps[:] = [Step(**row) for row in rows]


def _moved(state: TrainingState) -> list[Tensor]:
    """Parameters in the order in which the optimizer counts them."""
    return [each for group in state.optimizer.param_groups for each in group["params"]]
