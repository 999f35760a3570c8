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
    Case(
        "no memory",
        training_fails(NO_MEMORY),
        1,
        ("reference/chats/seed-0: out of memory (DefaultCPUAllocator", "`train.gradient_checkpointing`"),
        ANEW,
    ),
    Case(
        "a lost accelerator",
        training_fails(LOST),
        3,
        (
            "reference/chats/seed-0: the accelerator failed (CUDA error: an illegal memory access",
            "run again to continue",
        ),
        ANEW,
    ),
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


DAMAGES: dict[str, Callable[[str], str]] = {
    "without its keys": lambda text: "{}\n",
    "without its last line": lambda text: text[: text.rstrip("\n").rfind("\n") + 1],
    "of another type": lambda text: "[1]\n",
    "without values": lambda text: "null\n",
    "cut short": lambda text: text[: len(text) // 2],
    "nested deeply": lambda text: "[" * 100_000,
}


READ_BY = {
    "manifest.json": ("status", "tiny"),
    "scores.jsonl": ("report", "tiny"),
    "selections.jsonl": ("report", "tiny"),
    "layers.json": ("report", "tiny"),
    "metrics.jsonl": ("report", "tiny"),
    "data/chats.json": ("report", "tiny"),
    "overlap/chats.json": ("report", "tiny"),
    "evaluations/base/items.jsonl": ("compare", "tiny:base", "tiny:all-layers"),
    "evaluations/base/results.json": ("compare", "tiny:base", "tiny:all-layers"),
}
EVERY = [(name, damage) for name in READ_BY for damage in DAMAGES]


# One of every file and every damage by default.
@pytest.mark.parametrize(
    ("name", "damage"),
    [each if number % 7 == 0 else pytest.param(*each, marks=pytest.mark.slow) for number, each in enumerate(EVERY)],
)
def test_a_damaged_file_of_a_run_is_told_and_rebuilt_by_run(bench: Bench, name: str, damage: str) -> None:
    path, verb = folder_of(bench) / name, READ_BY[name]
    whole = path.read_bytes()
    text = DAMAGES[damage](whole.decode())
    path.unlink()
    path.write_text(text)
    told = bench.told(*verb)
    assert told.code == 2, told.err
    assert name in told.message
    assert "damaged (" in told.message
    assert "run the recipe again to have it rebuilt" in told.message
    again = bench.told("run", "recipe.toml")
    assert again.code == 0, again.err
    assert bench.told(*verb).code == 0
    if name not in ("manifest.json", "metrics.jsonl"):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("key", ["id", "kind", "cell", "status"])
@pytest.mark.parametrize("verb", [("status", "tiny"), ("report", "tiny"), ("export", "tiny", "ila-30", "out")])
def test_a_stage_without_a_key_is_told(bench: Bench, key: str, verb: tuple[str, ...]) -> None:
    path = folder_of(bench) / "manifest.json"
    value = json.loads(path.read_text())
    del value["stages"][3][key]
    path.write_text(json.dumps(value))
    told = bench.told(*verb)
    assert told.code == 2, told.err
    assert f"manifest.json: damaged (stages.3.{key}: " in told.message


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000,
        pytest.param(b"", marks=pytest.mark.slow),
        pytest.param(b"\xff\x00", marks=pytest.mark.slow),
        pytest.param(b'name = "x"\n', marks=pytest.mark.slow),
        pytest.param(b"a.b.c = 1\n" * 99, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_resolved_recipe_is_told_and_rebuilt_by_run(bench: Bench, raw: bytes) -> None:
    path = folder_of(bench) / "resolved.toml"
    whole = path.read_bytes()
    path.write_bytes(raw)
    (path.parent / "recipe.toml").write_bytes(raw)
    told = bench.told("report", "tiny")
    assert told.code == 2, told.err
    assert "resolved.toml" in told.message
    assert "run the recipe again" in told.message
    assert bench.told("run", "recipe.toml").code == 0
    assert path.read_bytes() == whole
    assert bench.told("report", "tiny").code == 0


@pytest.mark.parametrize("raw", ["{}", *(pytest.param(raw, marks=pytest.mark.slow) for raw in ("[1, {", "null", ""))])
def test_a_damaged_analysis_is_written_again(bench: Bench, raw: str) -> None:
    path = folder_of(bench) / "analysis.json"
    whole = json.loads(path.read_text())
    path.write_text(raw)
    assert bench.told("run", "recipe.toml").code == 0
    again = json.loads(path.read_text())
    assert again["status"] == "complete"
    # Sentences name the model, which is in another folder here.
    told, before = (
        [{key: value for key, value in row.items() if key != "sentence"} for row in each["comparisons"]]
        for each in (again, whole)
    )
    assert told == before


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": [1]}',
        *(pytest.param(raw, marks=pytest.mark.slow) for raw in ("[]", "null", '{"a": {}}', "[" * 100_000)),
    ],
)
def test_a_damaged_memo_of_hashes_costs_time_and_nothing_else(bench: Bench, raw: str) -> None:
    memos = [bench.folder / "cache" / name for name in ("hashes.json", "sources/hashes.json")]
    for memo in memos:
        assert memo.is_file()
        memo.write_text(raw)
    before = bench.results()
    told = bench.told("run", "recipe.toml")
    assert (told.code, told.warnings) == (0, "")
    assert bench.results() == before


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
        told = bench.told(*ANEW)
    assert told.code == 3
    assert "No space left" in told.message
    (folder,) = {path.parent for path in (bench.folder / "runs" / "tiny").glob("*/manifest.json")} - {earlier}
    assert json.loads(bench.told("status", str(folder), "--json").out)["status"] == "stopped"
    assert bench.told(*ANEW).code == 0
    assert json.loads(bench.told("status", str(folder), "--json").out)["status"] == "complete"
    assert (folder / "report.html").is_file()


def test_a_moved_study_reads_its_own_files(bench: Bench) -> None:
    bench.rows(lambda rows: rows[:1])
    assert bench.told("run", "recipe.toml").code == 2
