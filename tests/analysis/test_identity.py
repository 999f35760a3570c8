import numpy as np
import pytest

from layersig.analysis.agreement import RunDesign
from layersig.analysis.identity import identity_gain, residual_agreement, type_depth_fit
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.rankcorr import normal_scores
from layersig.analysis.selections import top_k

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


def test_residual_agreement_equals_its_definition():
    rng = np.random.default_rng(3)
    scores = np.exp(rng.normal(size=61) + rng.normal(size=(4, 61)))
    values = normal_scores(scores)
    r = np.corrcoef(values - type_depth_fit(values, TYPES, DEPTHS))
    estimate = residual_agreement(scores, RunDesign(np.zeros(4, dtype=np.int64)), TYPES, DEPTHS)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    assert estimate.value == pytest.approx(np.mean([r[i, j] for i, j in pairs]), abs=1e-3)
    without = np.array([np.mean([r[i, j] for i, j in pairs if run not in (i, j)]) for run in range(4)])
    assert estimate.se == pytest.approx((3 / 4 * ((without - without.mean()) ** 2).sum()) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("variance", [0.0, 0.1, 0.2, 0.5])
def test_single_layers_that_runs_know_are_shown_where_the_gain_is_below_zero(variance: float):
    rng = np.random.default_rng(4)
    types, depths = np.tile(np.arange(7), 30), np.repeat(np.arange(30), 7)
    design = RunDesign(np.zeros(5, dtype=np.int64))
    shown, gains = [], []
    for _ in range(20):
        fixed = rng.normal(size=7)[types] + rng.normal() * (depths - 14.5) / 15
        fixed = fixed + variance**0.5 * rng.normal(size=210)
        scores = fixed + 0.5**0.5 * rng.normal(size=(5, 210))
        found = residual_agreement(scores, design, types, depths)
        shown.append(found.lower_bound() > 0)
        gains.append(identity_gain(scores, design, 63, types, depths).value)
    assert np.mean(shown) >= 0.9 if variance else np.mean(shown) <= 0.15
    if variance <= 0.2:
        assert np.mean(gains) < 0


def test_rankings_of_type_alone_know_no_single_layer():
    flat = np.tile(0.1 * TYPES, (3, 1)) + 5.0
    estimate = residual_agreement(flat, RunDesign(np.zeros(3, dtype=np.int64)), TYPES, DEPTHS)
    assert (estimate.value, estimate.se) == (0.0, 0.0)
    constant = identity_gain(np.full((3, 61), 0.3), RunDesign(np.zeros(3, dtype=np.int64)), 18, TYPES, DEPTHS)
    assert constant.value == pytest.approx(0.0, abs=1e-12)
