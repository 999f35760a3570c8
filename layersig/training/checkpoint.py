"""The state of an interrupted training, in one file that is whole or absent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from layersig.records import dumps, parse_json
from layersig.store.files import write_atomic
from layersig.training.log import Step, StepForm

CHECKPOINT = "training.safetensors"
_OPTIMIZER = re.compile("optimizer/([0-9]{1,9})/([^/]+)")


class Memory(Protocol):
    """Something that a training remembers between steps besides parameters and optimizer."""

    def state(self) -> Mapping[str, Tensor]:
        """All of it."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""


def save_checkpoint(
    folder: Path,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    steps: Sequence[Step],
    memory: Memory | None = None,
) -> None:
    """Write parameters, optimizer state, memory and log after the last of `steps`."""
    tensors = {f"parameter/{name}": value.detach() for name, value in parameters.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items()}
    for name, value in (memory.state() if memory is not None else {}).items():
        tensors[f"memory/{name}"] = value
    metadata = {"steps": dumps([step.to_json() for step in steps])}
    write_atomic(folder / CHECKPOINT, save({name: value.contiguous() for name, value in tensors.items()}, metadata))


def load_checkpoint(
    folder: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, memory: Memory | None = None
) -> tuple[Step, ...]:
    """Put the state that `save_checkpoint` wrote back in place.

    Returns:
        The steps done; none, and nothing changed, when there is no checkpoint of these parameters that can be read.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return ()
    try:
        with safe_open(path, "pt") as file:
            told = parse_json((file.metadata() or {}).get("steps", "").encode(), list[StepForm])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return ()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if (found := _OPTIMIZER.fullmatch(name)) is not None:
            state.setdefault(int(found[1]), {})[found[2]] = value
    saved = {name: value for name, value in tensors.items() if name.startswith("parameter/")}
    if {name: value.shape for name, value in saved.items()} != {
        f"parameter/{name}": value.shape for name, value in parameters.items()
    }:
        return ()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[f"parameter/{name}"])
    if memory is not None:
        memory.restore({n.removeprefix("memory/"): value for n, value in tensors.items() if n.startswith("memory/")})
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return tuple(Step(**row) for row in told)
