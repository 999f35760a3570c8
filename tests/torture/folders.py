"""Damaged run folders and cache entries: a tiny study is run once, one file of a copy is damaged, and a verb is called.

`status`, `report`, `compare`, `runs` and `run` are called in turn. A damaged file must be told, or be set aside and
rebuilt; after `run`, the results must be those of the undamaged study.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from layersig.cli.main import main
from layersig.errors import LayersigError
from layersig.store.hashing import sha256_bytes
from tests.study import write_study
from tests.torture.harness import Trial

_VERBS = ("status", "report", "compare", "runs", "run")
_RESULTS = ("scores.jsonl", "selections.jsonl", "layers.json", "evaluations")
_OTHERS: tuple[Any, ...] = (None, True, -1, 1.5, "x", [], {}, [[]], {"a": 1}, "\0", 10**30)


def trials(count: int, folder: Path) -> Iterator[Trial]:
    """Damaged copies of one study, half of them in the run folder and half in the cache.

    Args:
        count: How many.
        folder: Where the study is run, and where copies are made.
    """
    good = folder / "good"
    good.mkdir()
    write_study(good)
    with _at(good):
        _call("run", "recipe.toml")
    expected = _results(good)
    for number in range(count):
        draws = random.Random(f"folders/{number}")
        places = _places(good, "runs" if number % 2 else "cache")
        name = draws.choice(sorted(places))
        # In the cache only `run` reads; a log of progress or a declaration is of no consequence to the other verbs.
        verb = _VERBS[number // 2 % len(_VERBS)] if number % 2 else "run"
        kind = draws.choice(sorted(_DAMAGE))
        told = f"{number} {verb} with {name} {kind}"
        place = "runs" if kind == "deleted" else Path(name).name
        yield Trial(told, _run(good, folder / "copy", name, verb, _DAMAGE[kind], draws, expected), place)


def _run(
    good: Path,
    copy: Path,
    name: str,
    verb: str,
    damage: Callable[[random.Random, Path], None],
    draws: random.Random,
    expected: dict[str, str],
) -> Callable[[], object]:
    def run() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(good, copy)
        damage(draws, copy / name)
        with _at(copy):
            arguments = {"run": ["recipe.toml"], "runs": [], "compare": ["tiny:all-layers", "tiny:ila-30"]}
            _call(verb, *arguments.get(verb, ["tiny"]))
        if verb == "run":
            found = _results(copy)
            wrong = sorted(each for each in expected if found.get(each) != expected[each])
            assert not wrong, f"not rebuilt: {', '.join(wrong)}"

    return run


def _places(good: Path, root: str) -> list[str]:
    """Files that the product wrote and reads back: those of lines and values, not of weights, pictures and pages."""
    return [
        path.relative_to(good).as_posix()
        for path in (good / root).rglob("*")
        if path.is_file() and path.suffix in (".json", ".jsonl") and "/figures/" not in path.as_posix()
    ]


def _results(study: Path) -> dict[str, str]:
    (run,) = (path.parent for path in study.glob("runs/tiny/*/resolved.toml"))
    files = [path for name in _RESULTS for path in (run / name, *(run / name).rglob("*")) if path.is_file()]
    return {path.relative_to(run).as_posix(): sha256_bytes(path.read_bytes()) for path in files}


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    before, cache = Path.cwd(), os.environ.get("LAYERSIG_CACHE")
    os.chdir(folder)
    os.environ["LAYERSIG_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.chdir(before)
        if cache is None:
            del os.environ["LAYERSIG_CACHE"]
        else:
            os.environ["LAYERSIG_CACHE"] = cache


def _call(*arguments: str) -> None:
    """The command line in this process; what it says goes nowhere, and its errors come through as they are."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main(["--debug", *arguments])
        except SystemExit as ended:
            if ended.code:
                raise LayersigError(said.getvalue()) from ended


def _json(change: Callable[[random.Random, Any], Any]) -> Callable[[random.Random, Path], None]:
    """A change of one value of the file, or of one of its lines."""

    def damage(draws: random.Random, path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True) if path.suffix == ".jsonl" else [path.read_text()]
        if not lines:
            path.write_text("\n")
            return
        number = draws.randrange(len(lines))
        lines[number] = json.dumps(change(draws, json.loads(lines[number]))) + "\n"
        path.unlink()  # a hard link into the cache is left alone
        path.write_text("".join(lines))

    return damage


def _inner(draws: random.Random, value: Any) -> tuple[Any, Any]:
    """A container somewhere in a value, and a key in it."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draws.choice(keys)
        inside = value[key]
        if not isinstance(inside, dict | list) or not inside or draws.random() < 0.4:
            return value, key
        value = inside


def _drop(draws: random.Random, value: Any) -> Any:
    if isinstance(value, dict | list) and value:
        holder, key = _inner(draws, value)
        del holder[key]
    return value


def _retype(draws: random.Random, value: Any) -> Any:
    if isinstance(value, dict | list) and value and draws.random() < 0.9:
        holder, key = _inner(draws, value)
        holder[key] = draws.choice(_OTHERS)
        return value
    return draws.choice(_OTHERS)


def _raw(change: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random, Path], None]:
    def damage(draws: random.Random, path: Path) -> None:
        content = change(draws, path.read_bytes())
        path.unlink()
        path.write_bytes(content)

    return damage


def _flip(draws: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draws.choice((1, 1, 5))):
        if changed:
            changed[draws.randrange(len(changed))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def _folder(draws: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


_DAMAGE: dict[str, Callable[[random.Random, Path], None]] = {
    "without a key": _json(_drop),
    "with another type": _json(_retype),
    "cut short": _raw(lambda draws, content: content[: draws.randrange(len(content) + 1)]),
    "with bits flipped": _raw(_flip),
    "emptied": _raw(lambda draws, content: b""),
    "nested deeply": _raw(lambda draws, content: b"[" * draws.choice((200, 100_000))),
    "not text": _raw(lambda draws, content: draws.randbytes(200)),
    "deleted": lambda draws, path: path.unlink(),
    "a folder": _folder,
}
