"""`layersig plan` of a study whose model and data are not on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.study import call

RECIPE = Path(__file__).parents[2] / "recipes" / "paper" / "table-02.toml"


def test_a_total_of_which_nothing_is_known_is_no_zero(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    code, out, _ = call(capsys, "plan", RECIPE, "--runs", tmp_path, "--json")
    totals = json.loads(out.splitlines()[-1])["totals"]
    assert code == 0
    assert (totals["tokens"], totals["peak_memory"], totals["seconds"]) == (None, None, None)
    assert totals["not_weighed"] > 0
    _, out, _ = call(capsys, "plan", RECIPE, "--runs", tmp_path)
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert lines["tokens"].split()[1:] == ["?"]
    assert lines["memory"].split()[1:] == ["?"]
    assert "without" in lines["disk"]
