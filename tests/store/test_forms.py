"""What layersig wrote is checked against its form when it is read back; names of files are made of any text."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layersig.jsonform import Damaged, read_json, read_jsonl, read_rows
from layersig.records import OutcomeForm, ScoredForm
from layersig.sources.entries import whole_entry
from layersig.store.cache import Cache
from layersig.store.declarations import Declarations
from layersig.store.files import file_name
from layersig.store.hashing import FileHashes
from layersig.store.runfolder import RunFolder
from tests.manifests import manifest, source

KEY = "ab" * 32
STAGE = {"id": "layers", "kind": "layers", "cell": {}, "status": "done"}
OUTCOME = {"task": "t", "item": "1", "metric": "acc", "value": 1.0}


@pytest.mark.parametrize("key", ["id", "kind", "cell", "status"])
def test_a_stage_of_a_manifest_without_a_key_is_told(tmp_path: Path, key: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.save_manifest(manifest(stages=[STAGE, {name: value for name, value in STAGE.items() if name != key}]))
    with pytest.raises(Damaged, match=rf"manifest\.json: damaged \(stages\.1\.{key}: .*run the recipe again"):
        folder.manifest()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stages": {}}, "stages"),
        ({"stages": [None]}, r"stages\.0"),
        ({"stages": [{**STAGE, "cell": "x"}]}, r"stages\.0\.cell"),
        ({"stages": [{**STAGE, "seconds": "1"}]}, r"stages\.0\.seconds"),
        ({"sources": [{}]}, r"sources\.0\.node"),
        ({"status": None}, "status"),
        ({"versions": [1]}, "versions"),
    ],
)
def test_a_manifest_of_other_types_is_told_and_set_aside(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.save_manifest(manifest(**change))
    with pytest.raises(Damaged, match=place):
        folder.manifest()
    warnings: list[str] = []
    assert folder.earlier(warnings.append) is None
    assert "set aside as manifest.json.damaged and built again" in warnings[0]
    assert (folder.path / "manifest.json.damaged").is_file()


def test_a_manifest_keeps_what_its_form_does_not_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    whole = manifest(later="x", sources=[source("model", "model", more=1)], stages=[{**STAGE, "tokens": 12, "y": 2.5}])
    folder.save_manifest(whole)
    assert folder.manifest() == {"schema": 1, **whole}
    assert isinstance(folder.manifest()["stages"][0]["tokens"], int)


def committed(cache: Cache) -> Path:
    """A stage in a cache: its folder."""
    (cache.workplace(KEY) / "out" / "a.json").write_text("1")
    about: Any = {"kind": "x", "version": 1, "seconds": 1.0, "cost": {}, "warnings": [], "declarations": []}
    return cache.commit(KEY, about, []).folder


@pytest.mark.parametrize(
    "change",
    [
        *(lambda about, key=key: about.pop(key) for key in ("seconds", "cost", "declarations", "warnings", "kind")),
        lambda about: about.update(cost=[1]),
        lambda about: about.update(files={"../../../x": "ab" * 32}),
        lambda about: about.update(files={"a\0": "ab" * 32}),
        lambda about: about.update(fingerprint="cd" * 32),
        lambda about: about.update(declarations=None),
    ],
)
def test_a_cache_entry_of_another_form_is_set_aside(tmp_path: Path, change: Callable[[Any], object]) -> None:
    warnings: list[str] = []
    cache = Cache(tmp_path / "cache", warnings.append)
    folder = committed(cache)
    about = json.loads((folder / "stage.json").read_text())
    change(about)
    (folder / "stage.json").write_text(json.dumps(about))
    assert cache.find(KEY) is None
    assert "set aside" in warnings[0]
    committed(cache)
    assert cache.find(KEY) is not None


@pytest.mark.parametrize(
    "raw", ["[]", "{}", "null", '{"a": 1}', '{"/x": [1, 2, 3]}', '{"/x": [1, 2, 3, "z"]}', "[" * 9999]
)
def test_a_memo_of_hashes_of_another_type_is_not_used(tmp_path: Path, raw: str) -> None:
    (tmp_path / "hashes.json").write_text(raw)
    (tmp_path / "x").write_text("hello")
    hashes = FileHashes(tmp_path / "hashes.json")
    assert hashes.file(tmp_path / "x").startswith("2cf24dba")
    hashes.save()
    assert list(json.loads((tmp_path / "hashes.json").read_text())) == [str(tmp_path / "x")]


def test_what_the_memo_says_against_a_file_is_checked_on_its_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    hashes = FileHashes(tmp_path / "hashes.json")
    right = hashes.file(tmp_path / "x")
    hashes.save()
    text = (tmp_path / "hashes.json").read_text()
    (tmp_path / "hashes.json").write_text(text.replace(right, "00" * 32))
    assert FileHashes(tmp_path / "hashes.json").matches(tmp_path / "x", right)


@pytest.mark.parametrize("raw", ["", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', "[" * 9999])
def test_a_damaged_list_of_files_is_set_aside_and_made_again(tmp_path: Path, raw: str) -> None:
    def build(folder: Path) -> None:
        (folder / "a").write_text("x")

    def entry() -> str:
        return whole_entry(tmp_path, "area", "key", build, origin={}, warn=warnings.append).digest

    warnings: list[str] = []
    digest = entry()
    (tmp_path / "sources" / "area" / "key.json").write_text(raw)
    assert entry() == digest
    assert "set aside as key.damaged" in warnings[0]


@pytest.mark.parametrize("key", ["a\0b", "a/b", "../../x", "", ".", "..", "a" * 400, "é\n", "train[:10%]", "\udc80"])
def test_any_key_names_an_entry(tmp_path: Path, key: str) -> None:
    def build(folder: Path) -> None:
        (folder / "a").write_text("x")

    found = whole_entry(tmp_path, "area", key, build, origin={}, warn=print)
    assert found.path.parent == tmp_path / "sources" / "area"
    assert file_name(key) != file_name(f"{key} ")
    assert file_name("org--name-0123-train") == "org--name-0123-train"


def test_a_damaged_declaration_is_written_again_and_others_do_not_count(tmp_path: Path) -> None:
    declarations = Declarations(tmp_path)
    (digest,) = declarations.put({"a": 1})
    path = tmp_path / "declarations" / f"{digest}.json"
    whole = path.read_bytes()
    for raw in (b"", b"[", b"\xff"):
        path.write_bytes(raw)
        assert declarations.put({"a": 1}) == (digest,)
        assert path.read_bytes() == whole
    (path.parent / "strange.json").write_text("{}")
    assert declarations.put({"a": 1}) == (digest,)


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", "null", "", "[" * 9999, '{"scorer": "a"}', '{"scorer": "a", "unit": "x", "scores": {}}']
    + [json.dumps({"scorer": "a", "unit": "module", "scores": scores}) for scores in ([1], {"x": "1"}, {"x": None})]
    + [
        '{"scorer": "a", "unit": "module", "scores": {"x": NaN}}',
        '{"scorer": "a", "unit": "module", "scores": {}, "seed": "0"}',
    ],
)
def test_a_line_of_another_form_is_told_with_its_number(tmp_path: Path, line: str) -> None:
    good = json.dumps({"scorer": "a", "unit": "module", "scores": {"x": 1.0}, "more": [1]})
    (tmp_path / "scores.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(Damaged, match=r"scores\.jsonl:2: damaged \(.*run the recipe again"):
        list(read_jsonl(tmp_path / "scores.jsonl", ScoredForm))


@pytest.mark.parametrize("key", sorted(OUTCOME))
def test_an_outcome_without_a_key_is_told_with_its_line(tmp_path: Path, key: str) -> None:
    lines = [json.dumps(OUTCOME), json.dumps({name: value for name, value in OUTCOME.items() if name != key})]
    (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(Damaged, match=rf"items\.jsonl:2: damaged \({key}"):
        read_rows(tmp_path / "items.jsonl", OutcomeForm)


def test_a_folder_or_bytes_in_the_place_of_a_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "bytes.json").write_bytes(b"\xff\x00")
    for name in ("folder.json", "bytes.json"):
        with pytest.raises(Damaged, match=name):
            read_json(tmp_path / name, dict[str, Any])


def test_a_worker_tells_of_a_damaged_file_in_the_words_of_the_one_that_read_it() -> None:
    error = Damaged("scores.jsonl:2", "it is no JSON").at("score/transfer")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert str(error) == (
        "score/transfer: scores.jsonl:2: damaged (it is no JSON); run the recipe again to have it rebuilt"
    )
