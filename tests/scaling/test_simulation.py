"""The scheduler keeps simulated cards busy; docs/scaling.md has the figures of the whole study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scaling.simulation import longest_by_time, simulated
from tests.scaling.study import MODELS, Planned, planned

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Planned]:
    folder = tmp_path_factory.mktemp("plans")
    return [planned(name, folder / name) for name in MODELS]


def test_plans_follow_the_sizes_of_models(studies: list[Planned]) -> None:
    small, *_, large = studies
    assert [round(each.shapes.stored / 1e9, 1) for each in (small, large)] == [1.2, 70.6]
    assert len(small.graph.stages) == len(large.graph.stages) == 25 * (1 + 1 + 13 + 13 + 14) + 1 + 5 + 1
    training = "reference/d0/seed-0"
    ratio = large.seconds[training] / small.seconds[training]
    assert 40 < ratio < 80, "70.6 over 1.2 billion, at three quarters of the speed, with 8 s to start"


def test_cards_are_busy_until_the_last_stages(studies: list[Planned], tmp_path: Path) -> None:
    work = sum(sum(each.seconds.values()) for each in studies)
    one = simulated(studies[:1], 1, tmp_path)
    assert one.busy == pytest.approx(1)
    assert one.seconds == pytest.approx(sum(studies[0].seconds.values()), rel=0.03), "a tenth around the plan"
    many = simulated(studies, 64, tmp_path)
    assert many.busy_until_last >= 0.9
    assert many.busy >= 0.9
    assert many.seconds < 1.1 * work / 64
    assert simulated(studies, 64, tmp_path, longest_by_time).seconds > 0.9 * many.seconds
