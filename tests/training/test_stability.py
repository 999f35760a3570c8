from __future__ import annotations

import numpy as np
import pytest

from layersig.training.stability import stability


def test_a_falling_loss_is_not_stable_and_a_flat_one_is():
    falling = stability(np.linspace(3, 1, 300).tolist())
    assert falling.step is None
    assert falling.change == pytest.approx((1 + 49 / 299) / (1 + 149 / 299) - 1, rel=0.02)
    # Flat from step 101 on; two windows of 50 first lie in the flat part at step 200.
    flat = stability([*np.linspace(3, 1, 100), *np.ones(200)])
    assert flat.step is not None
    assert 190 < flat.step <= 200
    assert flat.change == 0


def test_calm_must_last_a_whole_window():
    losses = [*np.linspace(3, 1, 100), *np.ones(200)]
    assert stability(losses[:240]).step is None
    assert stability([*losses, 1.5]).step is None


def test_noise_says_when_nothing_can_be_told():
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(400):
        found = stability(rng.normal(2, 0.2, 100).tolist())
        assert found.noise is not None
        assert found.change is not None
        changes.append(found.change)
    assert found.noise == pytest.approx(float(np.std(changes)), rel=0.25)
    assert found.noise > found.epsilon


def test_too_short_to_tell():
    assert stability([1.0] * 99) == stability([2.0])
    assert stability([1.0] * 99).change is None


def test_a_loss_of_zero_has_no_relative_change():
    found = stability([1.0] * 20 + [0.0] * 200)
    assert (found.step, found.change, found.noise) == (None, None, None)
