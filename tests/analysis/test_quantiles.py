"""Quantiles are those of scipy's distributions, to the bit."""

import math

import numpy as np
from scipy import stats

from layersig.analysis.quantiles import chi2_quantile, t_quantile


def test_quantiles_are_the_bits_of_scipys_distributions() -> None:
    rng = np.random.default_rng(0)
    for p, df in zip(rng.uniform(1e-6, 1, 500), rng.uniform(0.3, 3000, 500), strict=True):
        assert t_quantile(p, df) == stats.t.ppf(p, df)
        assert chi2_quantile(p, df) == stats.chi2.ppf(p, df)


def test_infinite_degrees_of_freedom_are_the_normal_law() -> None:
    assert math.isclose(t_quantile(0.9, math.inf), stats.norm.ppf(0.9), rel_tol=1e-14)
