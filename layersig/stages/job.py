"""What the body of a stage gets to see, and how it reports what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from layersig.jsonform import dumps
from layersig.plugin.components import Component
from layersig.records import Cell
from layersig.streams import Streams

S_co = TypeVar("S_co", covariant=True)
"""The class of a stage's spec."""


class Reporter(Protocol):
    """Where a running stage tells how far it is; the engine brings one for terminals, logs and tests."""

    def start(self, task: str, total: int, unit: str) -> None:
        """A piece of work of `total` units begins."""

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        """`amount` units more are done, with `tokens` real tokens processed; `note` stands beside the bar."""

    def warn(self, message: str) -> None:
        """Something the user should know; it is kept in the manifest too."""


class Silent:
    """A reporter that says nothing."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Ignore."""

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        """Ignore."""

    def warn(self, message: str) -> None:
        """Ignore."""


@dataclass(frozen=True)
class Earlier:
    """What a finished stage left that differs from another in nothing but how far it goes and what it keeps.

    Attributes:
        out: Its output.
        kept: What it kept to be continued from; absent or empty where it kept nothing.
        metrics: Its rows of `metrics.jsonl`.
        cost: What it cost.
    """

    out: Path
    kept: Path
    metrics: Path
    cost: Mapping[str, float]


@dataclass(frozen=True)
class Job(Generic[S_co]):
    """One stage about to run.

    Attributes:
        cell: Labels of the stage; results must not depend on them.
        spec: The parameters of the stage; its class says what the stage reads and writes.
        inputs: Folder (a stage's output) or file (a source) by role.
        origins: Public name of every source by role, such as `hub:ID@COMMIT`: for what others will read, never for
            results.
        out: Empty folder to fill. Whatever is written here is the stage's output and is content-hashed:
            no times, no paths, no labels. It becomes visible only when the stage ends well.
        work: Folder that survives an interruption: checkpoints to resume from. Removed after success.
        streams: Named random streams of the cell.
        earlier: What shorter and longer stages of the same kind left; results must not depend on it.
        kept: Empty folder for what a longer stage of the same kind can continue from: stored beside the output, hashed
            against damage, and no part of the result. None where nothing is kept.
        components: Plugin components that the stage calls.
        reporter: Progress and warnings.
        cost: What the stage fills in for the manifest: `tokens`, `peak_memory`, and what else is worth knowing.
        metrics: Rows for `metrics.jsonl` (step, loss, lr, tokens, seconds): kept beside the output, not hashed.
    """

    cell: Cell
    spec: S_co
    inputs: Mapping[str, Path]
    out: Path
    work: Path
    streams: Streams
    origins: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()
    kept: Path | None = None
    components: tuple[Component, ...] = ()
    reporter: Reporter = field(default_factory=Silent)
    cost: dict[str, float] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def write(self, name: str, value: Any) -> None:
        """Write a JSON value to `out/name` in canonical form."""
        (self.out / name).write_text(dumps(value, indent=1) + "\n", encoding="utf-8")

    def read(self, role: str, name: str) -> Any:
        """The JSON value in file `name` of the input `role`."""
        return json.loads((self.inputs[role] / name).read_text(encoding="utf-8"))
