"""Which disk a study has to fit on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from layersig.planning import costs
from layersig.planning.costs import machine_warnings

STORE, RUN_FOLDER = 600.0, 500.0


@pytest.mark.parametrize(
    ("apart", "free", "full"),
    [
        (False, {"cache": 1000, "runs": 1000}, ["cache"]),
        (True, {"cache": 1000, "runs": 1000}, []),
        (True, {"cache": 1000, "runs": 400}, ["runs"]),
        (True, {"cache": 500, "runs": 1000}, ["cache"]),
    ],
)
def test_cache_and_runs_must_fit_on_the_disks_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool, free: dict[str, int], full: list[str]
) -> None:
    def place(folder: Path) -> Any:
        return SimpleNamespace(name=folder.name, stat=lambda: SimpleNamespace(st_dev=folder.name if apart else "one"))

    monkeypatch.setenv("LAYERSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(costs, "nearest", place)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free[place.name]))
    total: Any = SimpleNamespace(memory=SimpleNamespace(value=None), store=SimpleNamespace(value=STORE))
    total.run_folder = RUN_FOLDER
    told = machine_warnings(SimpleNamespace(), total, tmp_path / "runs")  # type: ignore[arg-type]
    assert [next(name for name in free if f"name='{name}'" in each) for each in told] == full
