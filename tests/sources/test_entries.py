from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from layersig.errors import MachineError
from layersig.sources.entries import FolderEntry, whole_entry


def _get(cache: Path, build, warn=None) -> FolderEntry:  # type: ignore[no-untyped-def]
    return whole_entry(cache, "area", "key", build, origin={"from": "here"}, warn=warn or (lambda _: None))


def _write(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_text("one")
    (folder / "b").write_text("two")


def _never(folder: Path) -> None:
    raise AssertionError("a whole entry is not built again")


def test_an_entry_is_built_once_and_its_manifest_tells_where_it_comes_from(tmp_path: Path) -> None:
    first = _get(tmp_path, _write)
    assert _get(tmp_path, _never) == first
    assert (first.path / "sub" / "a").read_text() == "one"
    manifest = json.loads((first.path.parent / "key.json").read_text())
    assert manifest["origin"] == {"from": "here"}
    assert set(manifest["files"]) == {"sub/a", "b"}


def test_a_build_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "b").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _get(tmp_path, half)
    assert [path.name for path in (tmp_path / "sources" / "area").iterdir() if path.suffix != ".lock"] == []
    assert (_get(tmp_path, _write).path / "b").read_text() == "two"


@pytest.mark.parametrize("harm", ["cut", "change", "delete", "add", "manifest"])
def test_every_harm_is_found_set_aside_and_mended(tmp_path: Path, harm: str) -> None:
    entry = _get(tmp_path, _write)
    target = entry.path / "sub" / "a"
    if harm == "cut":
        target.write_text("on")
    elif harm == "change":
        target.write_text("eno")
    elif harm == "delete":
        target.unlink()
    elif harm == "add":
        (entry.path / "c").write_text("three")
    else:
        (entry.path.parent / "key.json").write_text('{"files": {"b"')
    warnings: list[str] = []
    assert _get(tmp_path, _write, warnings.append) == entry
    assert len(warnings) == 1
    assert (entry.path.parent / "key.damaged").is_dir()
    assert {path.name for path in entry.path.rglob("*") if path.is_file()} == {"a", "b"}


def test_what_a_killed_process_left_is_cleared_without_a_word(tmp_path: Path) -> None:
    area = tmp_path / "sources" / "area"
    (area / "key.part").mkdir(parents=True)
    (area / "key.part" / "b").write_text("half")
    (area / "key").mkdir()
    warnings: list[str] = []
    entry = _get(tmp_path, _write, warnings.append)
    assert (entry.path / "b").read_text() == "two"
    assert warnings == []
    assert not (area / "key.part").exists()


def test_builders_that_meet_wait_for_one_another(tmp_path: Path) -> None:
    built = []

    def slow(folder: Path) -> None:
        built.append(folder)
        sleep(0.2)
        _write(folder)

    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda _: _get(tmp_path, slow), range(4)))
    assert len(built) == 1
    assert len(set(entries)) == 1


def test_a_cache_that_is_a_file_is_the_machines_trouble(tmp_path: Path) -> None:
    (tmp_path / "sources").write_text("in the way")
    with pytest.raises(MachineError, match="LAYERSIG_CACHE"):
        _get(tmp_path, _write)
