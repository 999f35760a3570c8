"""The command line on a tiny study in one folder, called again and again; what ran once is shared through its cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from layersig.cli.main import main
from layersig.jsonform import read_jsonl


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return value

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The manifest's stages by id."""
        return {stage["id"]: stage for stage in self.manifest["stages"]}

    @property
    def ran(self) -> set[str]:
        """Stages that were run, not found in the cache."""
        return {name for name, stage in self.stages.items() if not stage["cached"]}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a file of lines."""
        return list(read_jsonl(self.path / name))

    def layers(self, arm: str, data: str = "chats", seed: int = 0) -> list[str]:
        """The selection of an arm."""
        wanted = {"arm": arm, "data": data, "seed": seed}
        (found,) = [
            row["layers"]
            for row in self.lines("selections.jsonl")
            if all(row[key] in (value, None) for key, value in wanted.items())
        ]
        return list(found)

    def adapter(self, arm: str, data: str = "chats", seed: int = 0) -> Path:
        """Folder of an arm's adapter."""
        return self.path / "adapters" / arm / data / f"seed-{seed}"

    def files(self) -> set[str]:
        """Names of all files."""
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()}

    def results(self) -> dict[str, str]:
        """Hash of everything that must be equal when the same recipe runs again: no times, no costs, no paths."""
        kept = [self.path / name for name in ("scores.jsonl", "selections.jsonl", "layers.json")]
        for folder in ("ablations", "adapters", "evaluations", "overlap", "trajectories", "data"):
            kept += [path for path in (self.path / folder).rglob("*") if path.is_file()]
        return {
            path.relative_to(self.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(kept)
        }


@dataclass(frozen=True)
class Told:
    """How a call ended.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
        base: The working directory of the call.
    """

    code: int
    out: str
    err: str
    base: Path

    @property
    def json(self) -> Any:
        """The object in the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def run(self) -> Run:
        """The run that was made, which must have ended well."""
        assert self.code == 0, self.err
        return Run(self.base / self.json["run"])

    @property
    def errors(self) -> list[str]:
        """The error messages on stderr."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@dataclass(frozen=True)
class World:
    """A folder to work in, with a cache of its own.

    Attributes:
        base: The working directory of every call.
        recipe: The recipe that `run` runs.
    """

    base: Path
    recipe: Path

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    def call(self, *arguments: object, cache: Path | None = None) -> Told:
        """Call the command line in this process."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
            patch.setenv("LAYERSIG_CACHE", str(cache or self.cache))
            patch.chdir(self.base)
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            ended = stack.enter_context(pytest.raises(SystemExit))
            main([str(argument) for argument in arguments])
        return Told(int(ended.value.code or 0), out.getvalue(), err.getvalue(), self.base)

    def run(self, *arguments: object, cache: Path | None = None) -> Told:
        """`layersig run RECIPE --json`."""
        return self.call("run", self.recipe, "--json", *arguments, cache=cache)


@contextlib.contextmanager
def calls(module: object, name: str, before: Callable[[int], None] = lambda number: None) -> Iterator[list[Any]]:
    """The first argument of every call of a function within the block.

    Args:
        module: Where the function is looked up.
        name: Its name there.
        before: Called before every call with its number, from 1.
    """
    original = getattr(module, name)
    seen: list[Any] = []

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments[0])
        before(len(seen))
        return original(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, watched)
        yield seen
