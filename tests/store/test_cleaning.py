"""What `clean` may free, and what it must leave."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layersig.errors import UserError
from layersig.store.cache import Cache, bytes_of
from layersig.store.cleaning import free, survey
from layersig.store.runfolder import RunFolder, stage_text

KEYS = {name: name[0] * 64 for name in ("alone", "both", "copied", "data", "edited")}
ABOUT = {"kind": "score", "version": 1, "seconds": 1.0, "cost": {}, "warnings": [], "declarations": []}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", lambda message: pytest.fail(message))


def build(cache: Cache, name: str, size: int = 1000) -> Path:
    """A finished stage that was used a day ago."""
    work = cache.workplace(KEYS[name])
    (work / "out" / "a.json").write_text(name[0] * size)
    entry = cache.commit(KEYS[name], ABOUT, [])
    age(entry.folder / "stage.json")
    return entry.folder


def age(path: Path, days: float = 1.0) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def run_of(cache: Cache, name: str, status: str, stages: dict[str, str]) -> RunFolder:
    """A run on record that refers to stages, by name with their status."""
    folder = RunFolder(cache.root.parent / "runs" / name / "0123456789ab")
    folder.path.mkdir(parents=True)
    listed = [
        {"id": each, "kind": "score", "cell": {}, "status": how, "fingerprint": KEYS[each]}
        for each, how in stages.items()
    ]
    manifest = {"status": status, "name": name, "id": "0123456789ab", "started": "", "argv": []}
    manifest |= {"smoke": False, "versions": {}, "machine": {}, "root_seed": 0, "seeds": [], "sources": []}
    folder.save_manifest({**manifest, "warnings": []}, [stage_text(record) for record in listed])
    cache.register(folder.path)
    return folder


def names(cache: Cache, limit: int | None = None) -> set[str]:
    return {item.path.name for item in survey(cache).freeable(limit)}


def test_what_no_run_refers_to_is_freed_and_nothing_else(cache: Cache) -> None:
    for name in KEYS:
        build(cache, name)
    run_of(cache, "first", "complete", {"both": "done", "copied": "done"})
    run_of(cache, "second", "failed", {"both": "done", "data": "done"})
    assert names(cache) == {KEYS["alone"], KEYS["edited"]}
    freed = free(cache, survey(cache).freeable(None))
    assert {item.path.name for item in freed} == {KEYS["alone"], KEYS["edited"]}
    assert cache.find(KEYS["alone"]) is None
    assert cache.find(KEYS["both"]) is not None
    shutil.rmtree(cache.root.parent / "runs" / "first")
    assert KEYS["copied"] in names(cache)  # its run was deleted
    assert KEYS["both"] not in names(cache)


def test_with_a_limit_what_runs_have_copies_of_is_freed_the_oldest_first(cache: Cache) -> None:
    run = run_of(cache, "first", "complete", {"both": "done", "copied": "done", "data": "done", "edited": "done"})
    for name, days in (("both", 3), ("copied", 2), ("data", 9), ("edited", 9)):
        folder = build(cache, name)
        age(folder / "stage.json", days)
        if name != "data":
            run.place(folder / "out", f"evaluations/{name}")
    (run.path / "evaluations/edited/a.json").unlink()
    (run.path / "evaluations/edited/a.json").write_text("x" * 1000)
    copy = run.path / "evaluations/copied/a.json"  # as on another file system
    content = copy.read_text()
    copy.unlink()
    copy.write_text(content)
    assert names(cache) == set()
    assert names(cache, 10**9) == set()
    found = survey(cache)
    one = found.size - min(item.size for item in found.items)
    assert names(cache, one) == {KEYS["both"]}
    assert names(cache, 0) == {KEYS["both"], KEYS["copied"]}
    sizes = {item.path.name: (item.size, item.freed) for item in found.items}
    assert sizes[KEYS["both"]][0] - sizes[KEYS["both"]][1] == 1000  # the run's link keeps the file
    assert sizes[KEYS["copied"]][0] == sizes[KEYS["copied"]][1]


@pytest.mark.parametrize(
    "use",
    [
        lambda cache, key: cache.find(key),
        lambda cache, key: cache.lock(key).acquire(),
        lambda cache, key: os.utime(cache.folder(key) / "stage.json"),
    ],
)
def test_what_is_used_meanwhile_is_left(cache: Cache, use: Callable[[Cache, str], object]) -> None:
    build(cache, "alone")
    chosen = survey(cache).freeable(None)
    assert chosen
    held = use(cache, KEYS["alone"])
    assert free(cache, chosen) == []
    del held
    assert cache.find(KEYS["alone"]) is not None
    assert survey(cache).freeable(None) == []  # used a moment ago


def test_a_run_at_work_keeps_all_that_it_refers_to(cache: Cache) -> None:
    run = run_of(cache, "first", "running", {"both": "done"})
    folder = build(cache, "both")
    run.place(folder / "out", "evaluations/both")
    with run.lock():
        assert names(cache, 0) == set()
    assert names(cache, 0) == {KEYS["both"]}  # it was killed, and has its copy


def unreadable(*refused: str) -> Callable[[pytest.MonkeyPatch, RunFolder], None]:
    """A disk that lets nobody look at some files or folders of a run; "" is its folder."""

    def harm(monkeypatch: pytest.MonkeyPatch, run: RunFolder) -> None:
        paths = {run.path / name for name in refused}
        for name in ("stat", "lstat", "read_bytes"):
            real = getattr(Path, name)

            def refuse(path: Path, *rest: object, real: Any = real, **named: object) -> object:
                if path in paths:
                    raise PermissionError(13, "Permission denied", str(path))
                return real(path, *rest, **named)

            monkeypatch.setattr(Path, name, refuse)

    return harm


@pytest.mark.parametrize(
    "harm",
    [
        unreadable("manifest.json"),
        unreadable("manifest.json", ""),
        lambda _, run: (run.path / "manifest.json").write_text("{"),
        lambda _, run: (run.path / "manifest.json").write_text('{"schema": 9}'),
    ],
)
def test_a_run_that_cannot_be_read_keeps_all_and_stays_on_record(
    cache: Cache, harm: Callable[[pytest.MonkeyPatch, RunFolder], object]
) -> None:
    for name in ("both", "alone"):
        build(cache, name)
    run = run_of(cache, "first", "complete", {"both": "done"})
    with pytest.MonkeyPatch.context() as monkeypatch:
        harm(monkeypatch, run)
        assert names(cache, 0) == set()
        assert survey(cache).unreadable == ("first/0123456789ab",)
        free(cache, [])
    assert list((cache.root / "runs").glob("*.json"))


def test_a_run_that_has_just_begun_stays_on_record(cache: Cache) -> None:
    build(cache, "alone")
    run = RunFolder(cache.root.parent / "runs" / "new" / "0123456789ab")
    with run.lock():
        cache.register(run.path)
        assert names(cache) == {KEYS["alone"]}
        free(cache, [])
        assert list((cache.root / "runs").glob("*.json"))
    shutil.rmtree(run.path)
    free(cache, [])
    assert not list((cache.root / "runs").glob("*.json"))


def test_what_cannot_be_removed_is_left(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    build(cache, "alone")
    (cache.root / "damaged").mkdir()
    (cache.root / "damaged" / "x").write_text("x")
    age(cache.root / "damaged" / "x")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError("not yours")))
    chosen = survey(cache).freeable(None)
    assert len(chosen) == 2
    assert free(cache, chosen) == []


@pytest.mark.parametrize(("status", "freed"), [("interrupted", False), ("complete", True)])
def test_scratch_stays_for_the_run_that_continues_from_it(cache: Cache, status: str, freed: bool) -> None:
    run_of(cache, "first", status, {"data": "running" if status == "interrupted" else "done"})
    work = cache.workplace(KEYS["data"])
    (work / "state" / "training.safetensors").write_text("x")
    assert names(cache) == set()  # written to a moment ago
    age(work / "state" / "training.safetensors")
    assert names(cache) == ({KEYS["data"]} if freed else set())
    if freed:
        free(cache, survey(cache).freeable(None))
        assert not work.exists()


def test_leftovers_of_killed_processes_are_freed(cache: Cache) -> None:
    (cache.root / "declarations").mkdir(parents=True)
    places = [
        cache.root / "removed" / f"{KEYS['alone']}.0" / "out" / "a",
        cache.root / "damaged" / f"{KEYS['alone']}.0" / "stage.json",
        cache.root / "declarations" / ".x.json.abcd.part",
        cache.root / "planned-costs" / ".x.json.abcd.part",
        cache.root / ".hashes.json.abcd.part",
    ]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x")
        age(place)
    (cache.root / "declarations" / "x.json").write_text("{}")
    free(cache, survey(cache).freeable(None))
    assert not any(place.exists() for place in places)
    assert (cache.root / "declarations" / "x.json").exists()


def test_a_kill_in_the_middle_of_a_commit_loses_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    work = cache.workplace(KEYS["alone"])
    (work / "out" / "a.json").write_text("x")
    (work / "state" / "step").write_text("x")

    def killed(path: Path, ignore_errors: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layersig.store.files.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.commit(KEYS["alone"], ABOUT, [])
    entry = cache.find(KEYS["alone"])
    assert entry is not None
    assert not (entry.folder / "state").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("20 GiB", 20 * 2**30),
        ("1.5t", 1_500_000_000_000),
        ("7", 7),
        ("9" * 400, 10**400),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "5XB", "1e9"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a size"):
        bytes_of(text)
