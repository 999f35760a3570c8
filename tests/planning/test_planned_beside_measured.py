"""What `layersig plan` says of cost is in the report of the run, beside what the run took."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import World
from tests.study import RECIPE, write_study

QUANTITIES: dict[str, tuple[str, str, Callable[[Sequence[float]], float]]] = {
    "time": ("seconds", "seconds", sum),
    "peak memory": ("peak_memory", "peak_memory", max),
    "disk": ("store_bytes", "disk", sum),
}


def test_planned_and_measured_cost_are_in_the_report_with_their_ratio(tmp_path: Path) -> None:
    world = World(tmp_path, write_study(tmp_path, recipe=RECIPE.partition("[[arms]]")[0]))
    plan: dict[str, Any] = world.call("plan", world.recipe, "--json").json
    run = world.run().run
    left = {stage["id"]: stage for stage in plan["stages"] if not stage["cached"]}
    planned = {stage["id"] for stage in run.manifest["planned_costs"]["stages"]}
    assert planned == left.keys()
    assert {"reference/chats/seed-0", "score/ila/chats/seed-0/at-1"} <= planned
    for stage in run.stages.values():
        entry = world.cache / "stages" / stage["fingerprint"][:2] / stage["fingerprint"]
        assert stage["disk"] == sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
    found = {(row["kind"], row["quantity"]): row for row in _table(run.path)}
    kinds = {stage["kind"] for stage in run.stages.values()}
    assert {kind for kind, _ in found} <= kinds | {"all"}
    for kind in ("reference", "score", "all"):
        for quantity, (expected, took, combined) in QUANTITIES.items():
            own = [
                (left[name][expected], stage[took])
                for name, stage in run.stages.items()
                if kind in (stage["kind"], "all") and name in left and took in stage
            ]
            row = found[kind, quantity]
            figures = [combined(figure) for figure in zip(*own, strict=True)]
            # The plan prints hundredths of a second and whole bytes.
            assert (row["planned"], row["measured"]) == pytest.approx(
                figures, abs=len(own) * (0.005 if quantity == "time" else 0.5)
            )
            assert row["ratio"] == pytest.approx(row["measured"] / row["planned"])
    report = (run.path / "report.md").read_text()
    assert "Planned and measured cost of the stages that were planned before they were computed" in report
    assert plan["speed_origin"] in report
    world.call("plan", world.recipe)  # all is cached by now: what was planned before stays
    assert _table(world.run().run.path) == list(found.values())


def _table(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((run / "analysis.json").read_text())["planned_costs"]
    return rows
