"""`layersig plan` of a study whose model and data are not on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.study import call

RECIPE = Path(__file__).parents[2] / "recipes" / "paper" / "table-02.toml"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on this machine."""
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))


def totals(capsys: pytest.CaptureFixture[str], tmp_path: Path, *more: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The totals as JSON, and as lines of text by their first word."""
    code, out, _ = call(capsys, "plan", RECIPE, "--runs", tmp_path, "--json", *more)
    assert code == 0
    _, text, _ = call(capsys, "plan", RECIPE, "--runs", tmp_path, *more)
    lines = {line.split()[0]: line.partition(" ")[2].strip() for line in text.splitlines() if line}
    return json.loads(out.splitlines()[-1])["totals"], lines


def test_a_total_of_which_nothing_is_known_is_no_zero(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found, lines = totals(capsys, tmp_path)
    assert {name: found[name] for name in ("steps", "tokens", "seconds", "peak_memory", "store_bytes")} == {
        "steps": None, "tokens": None, "seconds": None, "peak_memory": None, "store_bytes": None,
    }  # fmt: skip
    assert found["unknown"] == {
        "steps": 15, "tokens": 30, "seconds": 30, "peak_memory": 30, "store_bytes": 30, "judge_calls": 0,
    }  # fmt: skip
    assert (lines["tokens"], lines["time"], lines["memory"]) == ("?", "?", "?")
    assert lines["trainings"] == "15 of ? optimizer steps"
    assert lines["disk"].startswith("? in the store; at least ")


def test_a_total_of_which_something_is_known_is_a_lower_bound(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found, lines = totals(capsys, tmp_path, "--assume", "rows.lima=1030", "--assume", "step.seconds=2")
    assert lines["trainings"] == f"15 of at least {found['steps']} optimizer steps, 10 stages unknown"
    assert found["unknown"]["seconds"] == 10
    assert found["seconds"] > 2 * found["steps"] > 0
    assert lines["time"].startswith("at least ")
    assert lines["time"].endswith(", 10 stages unknown")
    assert (found["tokens"], lines["tokens"]) == (None, "?")
