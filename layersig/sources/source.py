"""A source on this machine, and the interface of loaders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["model", "data", "benchmark", "rankings", "update", "questions"]
Warn = Callable[[str], None]

log_warning: Warn = logging.getLogger("layersig").warning


@dataclass(frozen=True, slots=True)
class Source:
    """A complete, checked model, data set or benchmark on this machine.

    Attributes:
        spec: What the recipe asked for.
        resolved: What it got, as precisely as the scheme allows: `hub:ID@COMMIT`, `pypi:NAME`, `path:/full/path`.
        label: Short name for records, paths and figures; `norobots>alpaca-gpt4-sample` after a fallback.
        kind: What it is.
        path: A model: a Hugging Face folder with safetensors. Data and questions: one `.jsonl`, `.json` or `.parquet`
            file. A benchmark: a folder that `datasets.load_dataset` reads. Rankings: a `scores.jsonl`. An update: a
            folder, see `layersig.models.external_update`.
        revision: Commit of a hub repository, version of a package; None for files.
        digest: Hex sha256 over the contents that matter.
        licence: Licence as its publisher states it; None when unknown.
        notes: What the user should know: licence terms, known deviations, why a fallback was taken.
        fallback: True when this stands in for a source that could not be reached.
        digest_now: Takes the digest again, given the root of the cache, of what is read where its owner keeps it, and
            may change while a run is at work; None for what lies in the cache.
    """

    spec: str
    resolved: str
    label: str
    kind: Kind
    path: Path
    revision: str | None
    digest: str
    licence: str | None
    notes: tuple[str, ...] = ()
    fallback: bool = False
    digest_now: Callable[[Path], str] | None = field(default=None, compare=False, repr=False)

    @property
    def public_name(self) -> str:
        """A name that means the same on another machine: `resolved`, or the spec where that is a path of this one."""
        return self.spec if self.local else self.resolved

    @property
    def local(self) -> bool:
        """Whether it is named by a path of this machine."""
        return self.resolved.removeprefix("untrained:").startswith(("path:", "file:"))


@dataclass(frozen=True, slots=True)
class Request:
    """How a source may be fetched.

    Attributes:
        base_dir: Folder that relative paths start from: the recipe's, or the working directory for an override.
        cache: Root of the cache.
        offline: Use only what is on this machine.
        split: Split of a hub data set; other schemes have one file and ignore it.
        warn: Told of damaged cache entries.
    """

    base_dir: Path
    cache: Path
    offline: bool = False
    split: str = "train"
    warn: Warn = log_warning


@dataclass(frozen=True, slots=True)
class NamedSource:
    """What a recipe names from outside.

    Attributes:
        kind: A name in `layersig.sources.kinds.SOURCE_KINDS`.
        name: Its name in the recipe.
        spec: `SCHEME:REFERENCE`, or the name of a task.
        fallback: What may stand in when `spec` cannot be reached; None for nothing.
        rows: Files of rows that the recipe gives for a task by name: one for the scored split, or several by split.
    """

    kind: str
    name: str
    spec: str
    fallback: str | None = None
    rows: str | Mapping[str, str] | None = None


class SourceLoader(Protocol):
    """Fetches the sources of one scheme; a plugin may add one."""

    kinds: frozenset[Kind]
    """What it can load."""

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """The source that `reference`, the part of a spec after the scheme and its colon, names.

        Raises:
            UserError: The reference is wrong, or the user may not have it.
            MachineError: It cannot be reached; a fallback may stand in.
        """


class Resolver(Protocol):
    """Finds the sources of one kind."""

    def __call__(
        self, wanted: NamedSource, request: Request, *, strict: bool, loaders: Mapping[str, SourceLoader]
    ) -> Source:
        """The source, or its fallback when it cannot be reached.

        Raises:
            UserError: What is named cannot be used.
            MachineError: It cannot be reached, nor can its fallback; or `strict` forbids the fallback.
        """
