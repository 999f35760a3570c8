import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign
from layersig.analysis.identity import identity_gain, type_depth_fit
from layersig.analysis.overlap import pairwise_kappa, top_k

TYPES = np.append(np.tile(np.arange(3), 20), 3)
DEPTHS = np.append(np.repeat(np.arange(20), 3), 20)


def test_fit_equals_polyfit_per_type_and_keeps_a_lone_module():
    scores = np.random.default_rng(0).normal(size=(2, 61))
    fit = type_depth_fit(scores, TYPES, DEPTHS)
    for row in range(2):
        for kind in range(3):
            at = kind == TYPES
            expected = np.polyval(np.polyfit(DEPTHS[at], scores[row, at], 3), DEPTHS[at])
            np.testing.assert_allclose(fit[row, at], expected, atol=1e-9)
    np.testing.assert_allclose(fit[:, 60], scores[:, 60])


def test_gain_equals_its_definition():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=61) + 0.5 * rng.normal(size=(3, 61))
    fit = type_depth_fit(scores, TYPES, DEPTHS)
    gains = []
    for i in range(3):
        for j in range(3):
            if i != j:
                own, smooth = (pairwise_kappa(top_k(np.stack([x[i], scores[j]]), 18))[0, 1] for x in (scores, fit))
                gains.append(own - smooth)
    estimate = identity_gain(scores, RunDesign(np.zeros(3, dtype=np.int64)), 18, TYPES, DEPTHS)
    assert estimate.value == pytest.approx(np.mean(gains), abs=1e-12)
    assert estimate.df == 2


def test_gain_tells_identity_from_smooth_pattern():
    rng = np.random.default_rng(2)
    design = RunDesign(np.zeros(6, dtype=np.int64))
    smooth = TYPES + np.sin(DEPTHS / 8)
    identity = identity_gain(3 * rng.normal(size=61) + rng.normal(size=(6, 61)), design, 18, TYPES, DEPTHS)
    pattern = identity_gain(smooth + rng.normal(size=(6, 61)), design, 18, TYPES, DEPTHS)
    assert identity.interval().low > 0.2
    assert pattern.value < 0


def test_a_single_run_is_refused():
    with pytest.raises(ValueError, match="at least two runs"):
        identity_gain(np.zeros((1, 61)), RunDesign(np.zeros(1, dtype=np.int64)), 18, TYPES, DEPTHS)
