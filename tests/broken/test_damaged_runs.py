"""Damaged files of a cache and of a run are named, set aside, and built again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broken.bench import Bench, folder_of, manifest


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
