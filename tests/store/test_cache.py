"""The cache: whole or absent, damage set aside, fingerprints that see what matters."""

from __future__ import annotations

import json
import os

import pytest

from layersig.store.cache import Cache
from layersig.store.fingerprint import fingerprint
from layersig.store.hashing import FileHashes
from layersig.store.runfolder import RunFolder
from layersig.streams import Streams

KEY = "ab" * 32
ABOUT = {"kind": "score", "version": 1, "seconds": 1.0, "cost": {}, "warnings": [], "declarations": []}


def build(cache: Cache, key: str = KEY, text: str = "scores") -> None:
    work = cache.workplace(key)
    (work / "out" / "deep").mkdir()
    (work / "out" / "deep" / "a.json").write_text(text)
    (work / "state" / "checkpoint").write_text("x")
    cache.commit(key, ABOUT, [{"step": 1}])


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, warnings) -> Cache:
    return Cache(tmp_path / "cache", warnings.append)


def test_an_entry_is_found_only_once_it_is_whole(cache):
    work = cache.workplace(KEY)
    (work / "out" / "half").write_text("x")
    assert cache.find(KEY) is None
    build(cache)
    entry = cache.find(KEY)
    assert (entry.out / "deep" / "a.json").read_text() == "scores"
    assert not (entry.out / "half").exists()
    assert not (entry.folder / "state").exists()
    assert json.loads(entry.metrics.read_text()) == {"step": 1}


def test_state_survives_an_interruption_and_output_does_not(cache):
    work = cache.workplace(KEY)
    (work / "out" / "half").write_text("x")
    (work / "state" / "step-7").write_text("x")
    work = cache.workplace(KEY)
    assert (work / "state" / "step-7").exists()
    assert not (work / "out" / "half").exists()


def test_a_family_is_what_is_whole_of_it_and_what_was_kept_is_checked(cache, warnings):
    for key in (KEY, "cd" * 32, "ef" * 32):
        work = cache.workplace(key)
        (work / "kept" / "state").write_text(key)
        cache.commit(key, ABOUT, [])
        cache.relate("a family", key)
    assert cache.find(KEY).about["digest"] == cache.find("cd" * 32).about["digest"]  # no part of the result
    (cache.find("cd" * 32).kept / "state").write_text("other")
    assert [entry.folder.name for entry in cache.family("a family")] == [KEY, "ef" * 32]
    assert "kept/state was changed" in warnings[0]
    assert cache.family("another") == ()


@pytest.mark.parametrize("damage", ["shorter", "changed", "missing", "manifest"])
def test_a_damaged_entry_is_set_aside_with_a_warning(cache, warnings, damage):
    build(cache)
    entry = cache.find(KEY)
    file = entry.out / "deep" / "a.json"
    match damage:
        case "shorter":
            os.truncate(file, 2)
        case "changed":
            file.write_text("sc0res")
        case "missing":
            file.unlink()
        case "manifest":
            os.truncate(entry.folder / "stage.json", 10)
    assert cache.find(KEY) is None
    assert len(warnings) == 1
    assert "set aside" in warnings[0]
    build(cache)
    assert cache.find(KEY) is not None
    assert len(list((cache.root / "damaged").iterdir())) == 1


def test_digest_depends_on_content_and_names_alone(cache):
    build(cache, "11" * 32)
    build(cache, "22" * 32)
    build(cache, "33" * 32, text="other")
    digests = [cache.find(key * 32).digest for key in ("11", "22", "33")]
    assert digests[0] == digests[1] != digests[2]


def test_fingerprint_sees_every_part():
    given = {
        "kind": "train",
        "version": 1,
        "params": {"rank": 8, "steps": 2},
        "inputs": {"data": "d1"},
        "streams": Streams(0, 1),
        "numerics": {"dtype": "bfloat16"},
        "components": {"scorer/ila": {"version": 1}},
    }
    changes = {
        "kind": "tune",
        "version": 2,
        "params": {"rank": 9, "steps": 2},
        "inputs": {"data": "d2"},
        "streams": Streams(0, 2),
        "numerics": {"dtype": "float32"},
        "components": {"scorer/ila": {"version": 2}},
    }
    base = fingerprint(**given)
    assert base == fingerprint(**{**given, "params": {"steps": 2, "rank": 8}})
    assert len({base, *(fingerprint(**{**given, key: value}) for key, value in changes.items())}) == 8


def test_hash_memo_notices_a_change(tmp_path):
    file, memo = tmp_path / "a", tmp_path / "memo.json"
    file.write_text("one")
    hashes = FileHashes(memo)
    first = hashes.file(file)
    hashes.save()
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert FileHashes(memo).file(file) != first
    memo.write_text("{damaged")
    assert FileHashes(memo).file(file) == FileHashes().file(file)


def test_cleaning_the_cache_never_harms_a_run(cache, tmp_path):
    build(cache)
    entry = cache.find(KEY)
    folder = RunFolder(tmp_path / "runs" / "a" / "b")
    folder.place(entry.out, "evaluations/x")
    (folder.path / "evaluations" / "x" / "stale").write_text("x")
    folder.place(entry.out, "evaluations/x")
    assert [path.name for path in (folder.path / "evaluations" / "x").rglob("*")] == ["deep", "a.json"]
    entry.out.joinpath("deep", "a.json").unlink()
    assert (folder.path / "evaluations" / "x" / "deep" / "a.json").read_text() == "scores"
    assert not (folder.path / "evaluations" / "x" / "stale").exists()
