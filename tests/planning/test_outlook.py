"""The line that a run begins with once a plan has measured the machine."""

from __future__ import annotations

import pytest

from layersig.planning import speed
from tests.e2e.world import World
from tests.planning.studies import write


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("outlook")
    return World(base, write(base, "lora"))


def test_a_run_begins_with_its_plan_where_a_speed_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.call("plan", world.recipe).code == 0
    monkeypatch.setattr(speed, "speed_of", None)  # nothing is measured when a run begins
    first = world.run().err
    [line] = [line for line in first.splitlines() if line.startswith("· planned: ")]
    assert line.endswith(" of disk")
    assert " of memory · " in line
    assert first.index("stages") < first.index("· planned: ") < first.index("reference/")
    assert "· planned: " not in world.run().err  # nothing is left
