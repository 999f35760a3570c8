"""The values that a graph is made of: sources, stages, what a stage reads and where its output goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from layersig.plugin.components import Component
from layersig.records import Cell


@dataclass(frozen=True, slots=True)
class Source:
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
        kind: Key of `KINDS`.
        cell: Labels, for people.
        params: What the stage's function is told; enters the fingerprint.
        manner: What it is told besides: how to do it, which changes no result and is no part of the fingerprint.
        inputs: What it reads, by role.
        seed: Value of the seed axis that its random streams depend on; None for what all seeds share.
        length: Names of the params that only say how far it goes and what it keeps on the way. Stages that differ in
            nothing else begin alike, so that one can continue or serve another.
        computes: True when results depend on device, dtype and library versions.
        components: Plugin components that it calls.
        files: Where its output, or folders and files of it, go in the run folder.
        line: What it adds to a file of lines.
    """

    id: str
    kind: str
    cell: Cell
    params: Mapping[str, Any]
    inputs: Mapping[str, Input]
    manner: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    length: frozenset[str] = frozenset()
    computes: bool = True
    components: tuple[Component, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    line: Line | None = None


@dataclass(frozen=True)
class Graph:
    """Sources and stages of a recipe; every stage comes after what it reads."""

    sources: Mapping[str, Source]
    stages: tuple[Stage, ...]

    def __getitem__(self, stage: str) -> Stage:
        return next(each for each in self.stages if each.id == stage)
