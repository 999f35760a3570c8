"""The values that a graph is made of: sources, stages, what a stage reads and where its output goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from layersig.plugin.components import Component
from layersig.records import Cell
from layersig.stages.spec import StageSpec


@dataclass(frozen=True, slots=True)
class SourceRef:
    """Something from outside: a model, data, the data of a task, rankings of another run, an update, questions.

    `rows` are files that the recipe gives for a task by name, one for the scored split or several by split.
    """

    kind: Literal["model", "data", "task", "rankings", "update", "questions"]
    name: str
    spec: str
    fallback: str | None = None
    split: str | None = None
    rows: str | Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """What a stage reads: the output of another stage or a source, or one file or folder of it."""

    node: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A JSON object of a stage's output that becomes a line of a file of the run folder, behind its labels."""

    file: str
    target: str
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """One node of the graph.

    Attributes:
        id: Unique, path-like, readable.
        cell: Labels, for people.
        spec: Its kind and its parameters.
        inputs: What it reads, by role.
        seed: Value of the seed axis that its random streams depend on; None for what all seeds share.
        components: Plugin components that it calls.
        files: Where its output, or folders and files of it, go in the run folder.
        line: What it adds to a file of lines.
    """

    id: str
    cell: Cell
    spec: StageSpec
    inputs: Mapping[str, Input]
    seed: int | None = None
    components: tuple[Component, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    line: Line | None = None

    def __post_init__(self) -> None:
        self.spec.check_roles(self.inputs.keys())

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.spec.kind

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that enter the fingerprint, as JSON values."""
        return self.spec.fingerprinted

    @property
    def computes(self) -> bool:
        """Whether results depend on device, dtype and library versions."""
        return self.spec.computes


@dataclass(frozen=True)
class Graph:
    """Sources and stages of a recipe; every stage comes after what it reads."""

    sources: Mapping[str, SourceRef]
    stages: tuple[Stage, ...]

    def __getitem__(self, stage: str) -> Stage:
        return next(each for each in self.stages if each.id == stage)
