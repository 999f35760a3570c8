"""Answers that are being written, saved from time to time: a batch that takes long is not begun again after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict

from layersig.jsonform import dumps, parse_json
from layersig.models.tensor_file import later, write_tensors
from layersig.stages.interval import Interval
from layersig.store.files import write_through
from layersig.store.hashing import sha256_json


class Written(TypedDict):
    """What has been written of a batch.

    Attributes:
        written: The tokens of each prompt, with its index.
        ended: The prompts whose text has ended.
        live: The prompts that are being continued, in order; with slots, each with its slot.
        waiting: The prompts that have not been begun.
        lengths: Tokens by slot.
        end: The column that slots have reached.
        ran: Tokens that went through the model.
    """

    written: list[tuple[int, list[int]]]
    ended: list[int]
    live: list[tuple[int, int]]
    waiting: list[int]
    lengths: list[int]
    end: int
    ran: int


class State(NamedTuple):
    """A batch that is being written.

    Attributes:
        tensors: Keys and values, and what else the next step needs.
        written: What has been written.
    """

    tensors: Mapping[str, Tensor]
    written: Written


class Suspension:
    """The state of the batch that is being written, in one file that is complete or absent.

    Args:
        path: The file; None keeps nothing.
        device: Where its tensors belong.
        manner: All that decides answers besides their prompts: a batch that was saved under another is not continued.
    """

    def __init__(self, path: Path | None, device: torch.device, manner: str = "") -> None:
        self._path, self._device, self._manner = path, device, manner
        self._interval = Interval()
        self._batch = ""

    def begun(self, batch: Sequence[Any]) -> State | None:
        """The state of a batch that is about to be written, where a process was killed that was writing it.

        Args:
            batch: Its prompts, as a JSON value.
        """
        self._batch = sha256_json([self._manner, *batch])
        self._interval = Interval()
        if self._path is None or not self._path.exists():
            return None
        try:
            with safe_open(self._path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("batch") != self._batch:
                    return None
                written = parse_json(metadata["written"].encode(), Written)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError):
            return None
        # Copies, since the kernels that read them may depend on where in memory they begin.
        return State({name: each.to(self._device).clone() for name, each in tensors.items()}, written)

    def stepped(self, state: Callable[[], State | None]) -> None:
        """A step is done: save if it is time to. A state of None cannot be saved."""
        if self._path is not None and self._interval.over() and (found := state()) is not None:
            self._interval.save(partial(self._save, self._path, found))

    def ended(self) -> None:
        """The batch is written, and nothing of it is to be continued."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _save(self, path: Path, state: State) -> None:
        tensors = {name: later(value) for name, value in state.tensors.items()}
        metadata = {"batch": self._batch, "written": dumps(state.written)}
        write_through(path, lambda target: write_tensors(target, tensors, metadata))
