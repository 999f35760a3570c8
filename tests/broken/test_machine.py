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
import torch
from filelock import FileLock

from tests.broken.bench import Bench, Case, each, folder_of, manifest, nothing, write

RERUN = ("run", "recipe.toml", "train.rank=3")
"""A run that is not in the cache yet."""


def lock(bench: Bench) -> None:
    held = FileLock(folder_of(bench) / ".lock", timeout=0)
    bench.stack.enter_context(held)


def twin(bench: Bench) -> None:
    folder = folder_of(bench).rename(bench.folder / "runs" / "tiny" / "abcdef000000")
    shutil.copytree(folder, folder.with_name("abcdef111111"))


def findings(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        path = folder_of(bench) / "analysis.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return harm


def cache_at(place: str) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        (bench.folder / "file").write_text("x")
        bench.patch.setenv("LAYERSIG_CACHE", str(bench.folder / place))

    return harm


def full(seam: str) -> Callable[[Bench], None]:
    def refuse(path: Path, *_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return lambda bench: bench.patch.setattr(seam, refuse)


def training_fails(error: Exception) -> Callable[[Bench], None]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise error

    return lambda bench: bench.patch.setattr("layersig.training.stages.train", refuse)


NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12")
LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\n\nCompile with ...")


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
    Case("a file for a cache", cache_at("file"), 3, ("file/", "Not a directory", "LAYERSIG_CACHE"), RERUN),
    Case("a cache below a file", cache_at("file/cache"), 3, ("file/cache", "Not a directory", "LAYERSIG_CACHE"), RERUN),
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
        "findings of another version",
        findings(lambda found: {**found, "schema_version": 1}),
        2,
        ("analysis.json has schema version 1", "`layersig report ", "/tiny/"),
        ("show", "tiny"),
    ),
    Case(
        "findings without a column",
        findings(lambda found: {**found, "rankings": [{"scorer": "ila"}]}),
        2,
        ("analysis.json: damaged (kind: Field required); run the recipe again",),
        ("show", "tiny"),
    ),
    Case(
        "report of damaged scores",
        lambda bench: (folder_of(bench) / "scores.jsonl").write_text("{"),
        2,
        ("scores.jsonl: damaged (it is not what the run wrote)", "run the recipe again"),
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
        ("No space left", "free some space"),
        RERUN,
    ),
    Case(
        "a disk full under the runs",
        full("layersig.store.runfolder.write_atomic"),
        3,
        ("manifest.json: No space left", "free some space"),
        RERUN,
    ),
    Case(
        "no memory",
        training_fails(NO_MEMORY),
        1,
        ("reference/chats/seed-0: out of memory (DefaultCPUAllocator", "`train.gradient_checkpointing`"),
        RERUN,
    ),
    Case(
        "a lost accelerator",
        training_fails(LOST),
        3,
        (
            "reference/chats/seed-0: the accelerator failed (CUDA error: an illegal memory access",
            "run again to continue",
        ),
        RERUN,
    ),
]


@each(CASES)
def test_a_machine_in_the_way(bench: Bench, case: Case) -> None:
    case.check(bench)


@pytest.mark.parametrize(
    "name",
    [
        "report.html",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("report.md", "analysis.json", ".csv", ".svg")),
    ],
)
def test_a_disk_that_is_full_before_the_report_is_written_leaves_no_complete_run(bench: Bench, name: str) -> None:
    from layersig.store.files import write_atomic

    def refuse(path: Path, content: str | bytes) -> None:
        if name in str(path) or (failed and path.name == "manifest.json"):
            failed.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_atomic(path, content)

    failed: list[Path] = []
    earlier = folder_of(bench)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("layersig.topics.analyse", "layersig.topics.render", "layersig.store.runfolder"):
            patch.setattr(f"{module}.write_atomic", refuse)
        told = bench.told(*RERUN)
    assert told.code == 3
    assert "No space left" in told.message
    (folder,) = {path.parent for path in (bench.folder / "runs" / "tiny").glob("*/manifest.json")} - {earlier}
    assert json.loads(bench.told("status", str(folder), "--json").out)["status"] == "stopped"
    assert bench.told(*RERUN).code == 0
    assert json.loads(bench.told("status", str(folder), "--json").out)["status"] == "complete"
    assert (folder / "report.html").is_file()


def test_a_moved_study_reads_its_own_files(bench: Bench) -> None:
    bench.rows(lambda rows: rows[:1])
    assert bench.told("run", "recipe.toml").code == 2
