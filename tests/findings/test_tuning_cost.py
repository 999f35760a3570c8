"""What tuning costs: means over the runs of an arm, and how its time differs between them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from layersig.report.document import Table
from layersig.topics.tuning_cost.compute import tuning_cost_rows
from layersig.topics.tuning_cost.rows import TUNING_COSTS
from layersig.topics.tuning_cost.saved import time_saved_rows
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


def training(arm: str, seed: int, seconds: float, operations: float, **more: Any) -> dict[str, Any]:
    node = f"reference/d/seed-{seed}" if arm == "all-layers" else f"tune/{arm}/d/seed-{seed}"
    own = {"id": node, "status": "done", "kind": node.split("/")[0], "cell": {"arm": arm, "data": "d", "seed": seed}}
    cost = {"tokens": 100, "seconds_per_token": seconds / 100, "steps": 4, "planned_steps": 4, "operations": operations}
    return {**own, **cost, **more}


def ranked(seed: int, seconds: float) -> list[dict[str, Any]]:
    """A scorer of the update at a quarter of the reference training, and the selection that reads it."""
    update = {"update": f"reference/d/seed-{seed}/at-0.25"}
    return [
        {"id": f"score/a/d/seed-{seed}", "kind": "score", "status": "done", "seconds": seconds, "inputs": update},
        {
            "id": f"select/few/d/seed-{seed}",
            "kind": "select",
            "status": "done",
            "inputs": {"ranking/a/d": f"score/a/d/seed-{seed}"},
        },
    ]


def test_a_training_that_two_scorers_read_is_counted_once() -> None:
    node = "reference/d/seed-0"
    reads = {"a": {"update": f"{node}/at-0.25"}, "b": {"update": f"{node}/at-1.0", "checkpoints": f"{node}"}}
    scores = [
        {"id": f"score/{name}/d/seed-0", "kind": "score", "status": "done", "seconds": 1.0, "inputs": inputs}
        for name, inputs in reads.items()
    ]
    selection = {"id": "select/few/d/seed-0", "kind": "select", "status": "done"}
    selection |= {"inputs": {f"ranking/{name}/d": f"score/{name}/d/seed-0" for name in reads}}
    own = training("few", 0, 6.0, 700.0, inputs={"selection": "select/few/d/seed-0"})
    stages = [training("all-layers", 0, 10.0, 1000.0), own, *({"cell": {}, **each} for each in [*scores, selection])]
    (row,) = time_saved_rows({"stages": stages}, {}, 0.05, str.upper)  # type: ignore[arg-type]
    assert row.ranking_seconds == pytest.approx(1 + 1 + 10)


def test_time_saved_counts_the_ranking_and_stands_beside_its_bound() -> None:
    stages = []
    for seed, (own, whole) in enumerate([(6.0, 10.0), (10.0, 20.0)]):
        selection = {"inputs": {"selection": f"select/few/d/seed-{seed}"}}
        stages += [training("all-layers", seed, whole, 1000.0), training("few", seed, own, 700.0, **selection)]
        stages += [{"cell": {"scorer": "a"}, **stage} for stage in ranked(seed, 1.0)]
    lowest = {("few", "d", 0): 3, ("few", "d", 1): 2, ("others", "d", 0): 0}
    (row,) = time_saved_rows({"stages": stages}, lowest, 0.05, str.upper)  # type: ignore[arg-type]  # of a name
    assert (row.arm, row.data, row.runs, row.lowest_block) == ("few", "D", 2, 2)
    # The scorer takes a second, and the update it reads a quarter of the training of all layers.
    assert row.ranking_seconds == pytest.approx((1 + 2.5 + 1 + 5) / 2)
    assert row.saved_in_training == pytest.approx((0.4 + 0.5) / 2)
    assert row.bound == pytest.approx(0.3)
    shares_ = [1 - (6 + 3.5) / 10, 1 - (10 + 6) / 20]
    assert row.saved == pytest.approx(sum(shares_) / 2)
    half = 12.706204736 * abs(shares_[0] - shares_[1]) / 2  # of t with a degree of freedom
    assert (row.saved_low, row.saved_high) == (pytest.approx(row.saved - half), pytest.approx(row.saved + half))


def test_a_training_that_was_searched_or_broke_off_says_nothing_of_time_saved() -> None:
    pair = [training("all-layers", 0, 10.0, 1000.0), training("few", 0, 6.0, 700.0)]
    assert len(list(time_saved_rows({"stages": pair}, {}, 0.05, lambda name: name))) == 1
    for more in ({"trials": 3}, {"status": "failed"}):
        assert not list(time_saved_rows({"stages": [pair[0], {**pair[1], **more}]}, {}, 0.05, lambda name: name))
