"""Trackers are informed of a run, cached or not, and never stand in its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from layersig.engine import study
from layersig.plugin.tracking import OfferedTracker
from tests.e2e.world import World


class Memory:
    """Remembers what it is told."""

    told: ClassVar[list[tuple[Any, ...]]] = []

    def start(self, name: str, run: str, config: Mapping[str, Any]) -> None:
        print("hello")  # noqa: T201 - as trackers do
        self.told.append(("start", name, run, config))

    def training(self, cell: str, steps: Sequence[Mapping[str, Any]]) -> None:
        self.told.append(("training", cell, list(steps)))

    def finish(self, status: str, results: Sequence[Mapping[str, Any]]) -> None:
        self.told.append(("finish", status, list(results)))


class Broken(Memory):
    """Fails at the first training."""

    def training(self, cell: str, steps: Sequence[Mapping[str, Any]]) -> None:
        raise RuntimeError("no connection")


@pytest.fixture(autouse=True)
def _offered(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [OfferedTracker(name.lower(), f"{__name__}:{name}", "mine 1.0") for name in ("Memory", "Broken", "Lost")]
    monkeypatch.setattr(study, "offered_trackers", lambda: offered)
    monkeypatch.setattr(Memory, "told", [])


def test_a_tracker_is_told_what_the_run_folder_holds(world: World) -> None:
    told = world.run("--track", "memory")
    start, *trainings, finish = Memory.told
    run = told.run
    assert start[:3] == ("start", "tiny", run.path.name)
    assert start[3]["train"]["rank"] == 2
    rows = [{"cell": cell, **step} for _, cell, steps in trainings for step in steps]
    assert rows == run.lines("metrics.jsonl")
    assert len({row["cell"] for row in rows}) >= 3
    assert finish[1] == "complete"
    assert {row["arm"] for row in finish[2]} >= {"base", "all-layers", "ila-30"}
    assert "hello" not in told.out


@pytest.mark.parametrize(("name", "why"), [("broken", "RuntimeError: no connection"), ("lost", "has no attribute")])
def test_a_tracker_that_fails_is_left_out_with_one_warning(world: World, name: str, why: str) -> None:
    told = world.run("--track", name, "--track", "memory")
    assert told.code == 0
    (warning,) = [line for line in told.err.splitlines() if "is left out" in line]
    assert warning.startswith(f'warning: the tracker "{name}" of mine 1.0 is left out: ')
    assert why in warning
    assert Memory.told[-1][0] == "finish"


def test_an_unknown_tracker_is_refused_before_anything_runs(world: World) -> None:
    told = world.run("--track", "memry")
    assert told.code == 2
    assert "there is no tracker 'memry'; did you mean \"memory\"?" in told.err
    assert not Memory.told
