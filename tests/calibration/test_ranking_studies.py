import numpy as np
import pytest

from tests.calibration.profile_studies import SHAPES
from tests.calibration.profiles import real_profiles
from tests.calibration.ranking_studies import single_layers


def test_real_profiles_are_those_of_a_whole_model():
    profiles = real_profiles()
    assert len(profiles) >= 5
    assert {scores.shape for scores in profiles.values()} == {(30, 7)}
    assert all(np.isfinite(scores).all() and np.ptp(scores) > 0 for scores in profiles.values())


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_the_size_that_is_asked_for(name: str):
    profile = SHAPES[name](np.random.default_rng(0), 12, 4)
    assert profile.shape == (12, 4)
    assert np.isfinite(profile).all()


def test_studies_repeat_under_their_seed():
    first, second = (single_layers(3, np.random.default_rng(1)) for _ in range(2))
    assert first == second
