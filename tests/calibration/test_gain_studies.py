"""The studies of what is planned: they repeat, and their simulation fails a wrong test."""

from __future__ import annotations

import numpy as np
import pytest

from tests.calibration import gain_studies
from tests.calibration.gain_studies import _kept, _losses, planned_differences, shapes, share_of_gain


@pytest.mark.slow
@pytest.mark.parametrize("study", [share_of_gain, planned_differences])
def test_studies_repeat_under_their_seed(study: object) -> None:
    first, second = (study(3, np.random.default_rng(1)) for _ in range(2))  # type: ignore[operator]
    assert first == second


@pytest.mark.slow
def test_shapes_are_those_of_recipes_that_compare_arms() -> None:
    assert {(1, 48), (3, 52), (3, 200), (3, 520)} <= set(shapes())
    assert all(items > 1 for _, items in shapes())


def test_a_share_below_what_is_asked_for_is_hardly_ever_found_and_a_whole_one_is() -> None:
    rng = np.random.default_rng(0)
    level = _kept(_losses(600, rng, 3, 200, 0.2, 0.9))
    assert level == pytest.approx(0.05, abs=0.03)
    assert _kept(_losses(300, rng, 3, 200, 0.2, 0.8)) < 0.01
    assert _kept(_losses(300, rng, 3, 200, 0.2, 1.0)) > 0.9


def test_a_test_against_a_lower_share_would_miss_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gain_studies, "_REQUIRED", 0.7)
    assert _kept(_losses(300, np.random.default_rng(0), 3, 200, 0.2, 0.9)) > 0.5
