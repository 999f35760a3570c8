"""What tuning costs: means over the runs of an arm, and how its time differs between them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from layersig.report.document import Table
from layersig.topics.tuning_cost.compute import tuning_cost_rows
from layersig.topics.tuning_cost.rows import TUNING_COSTS
from layersig.topics.tuning_cost.section import shares
from tests.findings.recipes import FEW, recipe_of

TIMES = {"all-layers": (0.004, 0.006, 0.005), "few": (0.002,)}


PEAKS = {"all-layers": 900, "few": 300}


def stage(arm: str, seed: int, seconds: float) -> dict[str, Any]:
    held = {f"{name}_memory": 100 for name in ("weights", "trained", "gradient", "optimizer")}
    cell = {"arm": arm, "data": "d", "seed": seed}
    return {"kind": "tune", "cell": cell, "seconds_per_token": seconds, "peak_memory": PEAKS[arm], **held}


def test_the_spread_of_time_over_runs_is_its_standard_deviation() -> None:
    stages = [stage(arm, seed, time) for arm, times in TIMES.items() for seed, time in enumerate(times)]
    selections: Any = [SimpleNamespace(arm="few", data="d", layers=3, of=10)]
    rows = tuning_cost_rows({"stages": stages}, selections, recipe_of(FEW), lambda name: name)
    found = {row.arm: row for row in rows}
    assert found["all-layers"].seconds_per_token == pytest.approx(0.005)
    assert found["all-layers"].seconds_per_token_sd == pytest.approx(0.001)
    assert (found["few"].runs, found["few"].seconds_per_token_sd) == (1, None)
    assert found["few"].time_ratio == pytest.approx(0.4)
    assert (found["few"].peak_memory, found["few"].peak_ratio) == (300, pytest.approx(1 / 3))
    blocks = shares(SimpleNamespace(findings={TUNING_COSTS: rows}))  # type: ignore[arg-type]  # what is read of it
    (table,) = [block for block in blocks if isinstance(block, Table)]
    place = [column.head for column in table.columns].index("its SD over runs")
    assert [row[place] for row in table.rows] == ["1.00 s", "\u2013"]
