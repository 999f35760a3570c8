"""Planned beside measured cost: sums over the stages of which both are known, by kind and over all."""

from __future__ import annotations

from typing import Any

import pytest

from layersig.topics.cost.planned import planned_cost_rows

PLANNED = [
    {"id": "train/0", "seconds": 10.0, "at_most": False, "memory": 100, "disk": 40, "calls": None},
    {"id": "train/1", "seconds": 10.0, "at_most": False, "memory": 300, "disk": 40, "calls": None},
    {"id": "write", "seconds": 8.0, "at_most": True, "memory": None, "disk": None, "calls": None},
    {"id": "grade", "seconds": None, "at_most": False, "memory": 0, "disk": 0, "calls": 14},
    {"id": "broken", "seconds": 9.0, "at_most": False, "memory": 1, "disk": 1, "calls": None},
]
STAGES = [
    {"id": "train/0", "kind": "train", "status": "done", "seconds": 15.0, "peak_memory": 150, "disk": 60},
    {"id": "train/1", "kind": "train", "status": "done", "seconds": 25.0, "peak_memory": 250, "disk": 60},
    {"id": "train/2", "kind": "train", "status": "done", "seconds": 99.0, "peak_memory": 999, "disk": 99},
    {"id": "write", "kind": "write", "status": "done", "seconds": 2.0, "peak_memory": 50, "disk": 7},
    {"id": "grade", "kind": "grade", "status": "done", "seconds": 30.0, "calls": 12, "disk": 0},
    {"id": "broken", "kind": "train", "status": "failed", "seconds": 1.0, "peak_memory": 1, "disk": 1},
]


def rows(**more: Any) -> dict[tuple[str, str], tuple[Any, ...]]:
    found = planned_cost_rows({"stages": STAGES, **more})  # type: ignore[typeddict-item]  # what is read of it
    return {
        (row.kind, row.quantity): (row.stages, row.others, row.planned, row.measured, row.ratio, row.at_most)
        for row in found
    }


def test_stages_with_both_figures_are_summed_and_the_largest_peak_is_taken() -> None:
    found = rows(planned_costs={"origin": "measured", "stages": PLANNED})
    assert found == {
        ("train", "time"): (2, 1, 20.0, 40.0, 2.0, False),
        ("train", "peak memory"): (2, 1, 300.0, 250.0, pytest.approx(250 / 300), False),
        ("train", "disk"): (2, 1, 80.0, 120.0, 1.5, False),
        ("write", "time"): (1, 0, 8.0, 2.0, 0.25, True),
        ("grade", "verdicts"): (1, 0, 14.0, 12.0, pytest.approx(12 / 14), False),
        ("all", "time"): (3, 2, 28.0, 42.0, 1.5, True),
        ("all", "peak memory"): (2, 3, 300.0, 250.0, pytest.approx(250 / 300), False),
        ("all", "disk"): (3, 2, 80.0, 120.0, 1.5, False),
        ("all", "verdicts"): (1, 4, 14.0, 12.0, pytest.approx(12 / 14), False),
    }


def test_a_run_that_was_not_planned_has_no_rows() -> None:
    assert rows() == {}
    assert rows(planned_costs={"origin": "nothing is left to time", "stages": []}) == {}
