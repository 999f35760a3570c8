"""Runs that are unknown, locked or damaged; folders that cannot be written; a full disk; a damaged cache."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock

from tests.broken.bench import Bench, Case, each, nothing, write

ANEW = ("run", "recipe.toml", "train.rank=3")
"""A run that is not in the cache yet."""


def folder_of(bench: Bench) -> Path:
    (folder,) = (bench.folder / "runs" / "tiny").glob("*")
    return folder


def manifest(text: str) -> Callable[[Bench], object]:
    return lambda bench: (folder_of(bench) / "manifest.json").write_text(text)


def lock(bench: Bench) -> None:
    held = FileLock(folder_of(bench) / ".lock", timeout=0)
    bench.stack.enter_context(held)


def twin(bench: Bench) -> None:
    folder = folder_of(bench).rename(bench.folder / "runs" / "tiny" / "abcdef000000")
    shutil.copytree(folder, folder.with_name("abcdef111111"))


def cache_at(place: str) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        (bench.folder / "file").write_text("x")
        bench.patch.setenv("LAYERSIG_CACHE", str(bench.folder / place))

    return harm


def full(seam: str) -> Callable[[Bench], None]:
    def refuse(path: Path, *_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return lambda bench: bench.patch.setattr(seam, refuse)


def no_memory(bench: Bench) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12")

    bench.patch.setattr("layersig.training.stages.train", refuse)


CASES = [
    Case(
        "a file for runs",
        write("other", "x"),
        2,
        ("'--runs': Directory 'other' is a file",),
        ("run", "recipe.toml", "--runs", "other"),
    ),
    Case(
        "runs below a file",
        write("other", "x"),
        3,
        ("other/runs/tiny", "Not a directory", "--runs"),
        ("run", "recipe.toml", "--runs", "other/runs"),
    ),
    Case("a file for a cache", cache_at("file"), 3, ("file/", "Not a directory", "LAYERSIG_CACHE"), ANEW),
    Case("a cache below a file", cache_at("file/cache"), 3, ("file/cache", "Not a directory", "LAYERSIG_CACHE"), ANEW),
    Case("doctor and a file for a cache", cache_at("file"), 3, ("file: File exists", "LAYERSIG_CACHE"), ("doctor",)),
    Case("an unknown run", nothing, 2, ("no run 'tinny' in runs; there are: tiny/",), ("status", "tinny")),
    Case("a report of an unknown run", nothing, 2, ("no run 'tinny' in runs; there are: tiny/",), ("report", "tinny")),
    Case(
        "an ambiguous run",
        twin,
        2,
        ("'abcdef' fits several runs: tiny/abcdef000000, tiny/abcdef111111; give more",),
        ("status", "abcdef"),
    ),
    Case(
        "status of a damaged manifest",
        manifest("{"),
        2,
        ("manifest.json: damaged (", "run the recipe again"),
        ("status", "tiny"),
    ),
    Case(
        "status of a strange manifest",
        manifest("[]"),
        2,
        ("manifest.json: damaged (", "must be an object"),
        ("status", "tiny"),
    ),
    Case(
        "status of a manifest without stages",
        manifest('{"schema": 1}'),
        2,
        ("manifest.json: damaged (", "Field required"),
        ("status", "tiny"),
    ),
    Case(
        "report of a damaged manifest",
        manifest("{"),
        2,
        ("manifest.json: damaged (", "run the recipe again"),
        ("report", "tiny"),
    ),
    Case("a manifest of another version", manifest('{"schema": 99}'), 2, ("manifest.json has schema 99", "reads 1")),
    Case(
        "report of damaged scores",
        lambda bench: (folder_of(bench) / "scores.jsonl").write_text("{"),
        2,
        ("scores.jsonl:1: damaged", "run the recipe again"),
        ("report", "tiny"),
    ),
    Case(
        "report without a recipe",
        lambda bench: (folder_of(bench) / "resolved.toml").unlink(),
        2,
        ("there is no recipe", "resolved.toml"),
        ("report", "tiny"),
    ),
    Case("a locked run", lock, 2, ("runs/tiny/", "is being written by another process; wait for it, or stop it")),
    Case("a report of a locked run", lock, 2, ("is being written by another process",), ("report", "tiny")),
    Case(
        "a disk full under the cache",
        full("layersig.store.cache.write_atomic"),
        3,
        ("reference/chats/seed-0: ", "No space left", "free some space"),
        ANEW,
    ),
    Case(
        "a disk full under the runs",
        full("layersig.store.runfolder.write_atomic"),
        3,
        ("manifest.json: No space left", "free some space"),
        ANEW,
    ),
    Case("no memory", no_memory, 3, ("reference/chats/seed-0: out of memory; lower `train.micro_batch_tokens`",), ANEW),
]


@each(CASES)
def test_a_machine_in_the_way(bench: Bench, case: Case) -> None:
    case.check(bench)


def entry_of(bench: Bench, kind: str) -> Path:
    entries = (path.parent for path in (bench.folder / "cache" / "stages").glob("*/*/stage.json"))
    return next(entry for entry in entries if json.loads((entry / "stage.json").read_text())["kind"] == kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("data", "out/train.safetensors"),
        ("reference", "out/at-1/adapter_model.safetensors"),
        ("reference", "metrics.jsonl"),
        ("score", "stage.json"),
    ],
)
def test_a_cache_file_cut_short_is_set_aside_and_built_again(bench: Bench, kind: str, name: str) -> None:
    kept = ("adapters", "evaluations", "scores.jsonl", "selections.jsonl")
    before = {path: digest for path, digest in bench.results().items() if any(part in path for part in kept)}
    entry = entry_of(bench, kind)
    whole = (entry / name).read_bytes()
    (entry / name).write_bytes(whole[: len(whole) // 2])
    told = bench.told("run", "recipe.toml")
    assert told.code == 0, told.err
    assert f"cache entry {entry.name[:12]} is damaged" in told.warnings
    assert "set aside in" in told.warnings
    assert "built again" in told.warnings
    assert (bench.folder / "cache" / "damaged" / f"{entry.name}.0").is_dir()
    assert before.items() <= bench.results().items()
    if name != "metrics.jsonl" and name != "stage.json":
        assert (entry / name).read_bytes() == whole


def test_a_damaged_manifest_is_set_aside_and_built_again(bench: Bench) -> None:
    manifest("{")(bench)
    listed = bench.told("runs")
    assert listed.code == 0
    assert "manifest.json: damaged (" in listed.warnings
    told = bench.told("run", "recipe.toml")
    assert told.code == 0
    assert "manifest.json is damaged" in told.warnings
    assert (folder_of(bench) / "manifest.json.damaged").read_text() == "{"
    assert json.loads((folder_of(bench) / "manifest.json").read_text())["status"] == "complete"


def test_a_moved_study_reads_its_own_files(bench: Bench) -> None:
    bench.rows(lambda rows: rows[:1])
    assert bench.told("run", "recipe.toml").code == 2
