"""What the tracker of trackio leaves in trackio's own store, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.plugin.manager import offered_trackers
from layersig.plugin.tracking import Tracking

pytest.importorskip("trackio")

STEP = {"lr": 0.1, "gradient_norm": 1.0, "tokens": 5, "targets": 3, "seconds": 0.1}


def test_trainings_and_results_are_runs_of_a_project(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trackio import sqlite_storage, utils

    for module in (utils, sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    warnings: list[str] = []
    tracking = Tracking(["trackio"], list(offered_trackers()), warnings.append)
    tracking.start("demo", "abc", {"seeds": [0]})
    tracking.training("top/chats/seed-0", [{"step": step, "loss": 1 / step, **STEP} for step in (1, 2)])
    tracking.finish("complete", [{"arm": "base", "data": None, "task": "t", "metric": "acc", "value": 0.5}])
    assert not warnings
    assert capsys.readouterr().out == ""
    logs = {
        name: sqlite_storage.SQLiteStorage.get_logs("demo", name) for name in ("abc/top/chats/seed-0", "abc/results")
    }
    assert [(row["step"], row["loss"]) for row in logs["abc/top/chats/seed-0"]] == [(1, 1.0), (2, 0.5)]
    assert (logs["abc/results"][0]["base/t/acc"], logs["abc/results"][0]["status"]) == (0.5, "complete")
