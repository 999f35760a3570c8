"""The scheduler keeps simulated cards busy; docs/scaling.md has the figures of the whole study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scaling.simulation import longest_by_time, simulated
from tests.scaling.study import MODELS, Planned, planned

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Planned]:
    return [planned(name, tmp_path_factory.mktemp("plans") / name) for name in ("1B", "70B")]


def test_plans_follow_the_sizes_of_models(studies: list[Planned]) -> None:
    small, large = studies
    assert [round(each.shapes.stored / 1e9, 1) for each in studies] == [1.2, 70.6]
    assert len(small.graph.stages) == len(large.graph.stages) == 25 * (1 + 1 + 13 + 13 + 14) + 1 + 5 + 1
    assert set(MODELS) >= {small.name, large.name}
    training = "reference/d0/seed-0"
    ratio = large.seconds[training] / small.seconds[training]
    assert 40 < ratio < 80, "70.6 over 1.2 billion, at three quarters of the speed, with 8 s to start"


def test_cards_are_busy_until_the_last_stages(studies: list[Planned], tmp_path: Path) -> None:
    work = sum(sum(each.seconds.values()) for each in studies)
    one = simulated(studies, 1, tmp_path)
    assert one.busy == pytest.approx(1)
    assert one.seconds == pytest.approx(work, rel=0.03), "stages vary by a tenth around their plan"
    many = simulated(studies, 16, tmp_path)
    assert many.busy_until_last >= 0.9
    assert many.seconds < 1.1 * work / 16
    assert simulated(studies, 16, tmp_path, longest_by_time).seconds > 0.9 * many.seconds
