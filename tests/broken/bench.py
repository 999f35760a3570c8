"""A valid tiny study that has run once: a case breaks one thing in a copy of it and calls the command line again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.study import call, write_lines

# What may stand on stderr before a message: stages, what a source has to say, and warnings.
_PROGRESS = ("· ", "note: ", "warning: ")
# What libraries leave behind when nobody speaks for them.
_NOISE = ("Traceback", "site-packages", "Warning:", "Exception ignored")


@dataclass(frozen=True)
class Told:
    """What a command said: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one message of stderr; nothing but progress may stand before it, and nothing after it."""
        lines = self.err.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(starts) == 1, self.err
        before, message = lines[: starts[0]], lines[starts[0] :]
        assert all(line.startswith(_PROGRESS) for line in before), self.err
        assert all(line.startswith("  ") for line in message[1:]), self.err
        assert len(set(message)) == len(message), f"one fault is told twice:\n{self.err}"
        assert not any(noise in self.err for noise in _NOISE), self.err
        return "\n".join(message)

    @property
    def warnings(self) -> str:
        """The warnings on stderr."""
        return "\n".join(line for line in self.err.splitlines() if line.startswith("warning: "))


@dataclass
class Bench:
    """A copy of the study, of its runs and of its cache, in the working directory; a case may do with it as it likes.

    Attributes:
        folder: The copy: `recipe.toml`, `model/`, `chats.jsonl`, `choice.yaml`, `choice.jsonl`, `runs/`, `cache/`.
        patch: Undone when the test ends.
        stack: What is to be closed when the test ends.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    capture: pytest.CaptureFixture[str]

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first `old` of a text file."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def rows(self, change: Callable[[list[Any]], Any]) -> None:
        """Change the conversations."""
        path = self.folder / "chats.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, change(rows) or rows)

    def told(self, *arguments: object) -> Told:
        """Call the command line."""
        return Told(*call(self.capture, *arguments))

    def call(self, *arguments: object) -> Told:
        """Call the command line; what earlier runs left, manifests aside, must stay as it is, byte for byte."""
        before = self.results()
        told = self.told(*arguments)
        after = self.results()
        assert {name: after.get(name) for name in before} == before
        return told

    def results(self) -> dict[str, str]:
        """Sha256 by name of every file in `runs/` but manifests, and recipes that say where the model is."""
        places = ("manifest.json", "recipe.toml")
        files = (path for path in self.folder.glob("runs/**/*") if path.is_file() and path.name not in places)
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True)
class Case:
    """One thing that is wrong.

    Attributes:
        name: What it is.
        harm: Does it to a study.
        code: Exit code that must follow.
        words: What the message must hold: the place, what was found, what to do.
        arguments: Of `layersig`.
    """

    name: str
    harm: Callable[[Bench], object]
    code: int
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ("run", "recipe.toml")

    def check(self, bench: Bench) -> Told:
        """Break the study, call the command line, and compare what it says with what it must say."""
        self.harm(bench)
        told = bench.call(*self.arguments)
        assert told.code == self.code, told.err
        message = told.message
        missing = [words for words in self.words if words not in message]
        assert not missing, f"{missing} not in\n{message}"
        return told


def each(cases: list[Case]) -> pytest.MarkDecorator:
    """Parametrise a test over cases, by their names."""
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


def edit(name: str, old: str, new: str) -> Callable[[Bench], None]:
    """Replace the first `old` of a text file."""
    return lambda bench: bench.edit(name, old, new)


def recipe(old: str, new: str) -> Callable[[Bench], None]:
    """Replace the first `old` of the recipe."""
    return edit("recipe.toml", old, new)


def write(name: str, content: str | bytes) -> Callable[[Bench], object]:
    """Write a file."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda bench: (bench.folder / name).write_bytes(raw)


def cut(name: str, size: int) -> Callable[[Bench], None]:
    """Cut a file to some bytes; a negative size takes them off its end."""

    def harm(bench: Bench) -> None:
        path = bench.folder / name
        path.write_bytes(path.read_bytes()[:size])

    return harm


def remove(*names: str) -> Callable[[Bench], None]:
    """Remove files."""

    def harm(bench: Bench) -> None:
        for name in names:
            (bench.folder / name).unlink()

    return harm


def nothing(bench: Bench) -> None:
    """Leave the study as it is: the arguments are what is wrong."""


def folder_of(bench: Bench) -> Path:
    (folder,) = (bench.folder / "runs" / "tiny").glob("*")
    return folder


def manifest(text: str) -> Callable[[Bench], object]:
    return lambda bench: (folder_of(bench) / "manifest.json").write_text(text)
