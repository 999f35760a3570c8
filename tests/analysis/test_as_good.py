from itertools import product

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.as_good import AsGood, Steps, conclude, preserved
from layersig.analysis.fieller import fieller_set

SMALL, LARGE = 0.01, 0.2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_contrast_is_fiellers_lower_bound_of_the_ratio(seed: int, share: float):
    rng = np.random.default_rng(seed)
    everything = rng.normal(1, 0.5, size=60)
    arm = (0.85 + 0.02 * seed) * everything + rng.normal(0, 0.3, size=60)
    units = preserved(arm[None], everything[None], share, solved=False)[0]
    kept = stats.ttest_1samp(units, 0, alternative="greater").pvalue <= 0.05
    ratios = fieller_set(arm.mean(), everything.mean(), np.cov(arm, everything) / 60, 59, 0.90)
    assert kept == (ratios.low > share)


@pytest.mark.parametrize(("items", "shown"), [(40, False), (100, False), (2000, True)])
def test_right_or_wrong_items_that_all_agree_are_no_certainty(items: int, shown: bool):
    """The arm answers as all layers do, and both are right on a tenth more than the base."""
    gain = np.zeros((1, items))
    gain[:, : items // 10] = 1.0
    units = preserved(gain, gain, 0.9, solved=True)[0]
    assert (stats.ttest_1samp(units, 0, alternative="greater").pvalue <= 0.05) is np.bool_(shown)
    assert units.size == items + 4
    assert units.mean() == pytest.approx(0.1 * gain.sum() / (items + 4))


@pytest.mark.parametrize(
    ("gains", "keeps", "random", "worse"), list(product((SMALL, LARGE), (SMALL, LARGE), (SMALL, LARGE, None), (0, 1)))
)
def test_each_step_is_meant_only_after_the_one_before(gains: float, keeps: float, random: float | None, worse: int):
    steps = Steps(gains, keeps, random)
    found = conclude(steps.gains, steps.as_good, steps.selective, worse=bool(worse))
    if gains == LARGE:
        assert found is AsGood.NOT_TESTED
    elif keeps == LARGE:
        assert found is AsGood.NOT_SHOWN
    elif worse:
        assert found is AsGood.KEEPS_BUT_WORSE
    else:
        assert (found is AsGood.AS_GOOD_AND_SELECTIVE) == (random == SMALL)
    assert not (worse and "as good as" in found and "not shown" not in found)
