from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau, t

from layersig.analysis.milestones import (
    Reach,
    in_sequence,
    milestone_agreement,
    milestone_sentence,
    successive_agreement,
)

N, K = 40, 12
RNG = np.random.default_rng(5)
SIGNAL = RNG.normal(size=N)


def runs(seeds: int, noise: float, lost: float = 0.0, rng: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Scores at a milestone and at the end; the milestone shares the noise of its run and adds some of its own."""
    draw = np.random.default_rng(rng)
    end = SIGNAL + noise * draw.normal(size=(seeds, N))
    return end + lost * draw.normal(size=(seeds, N)), end


def kappa(a: np.ndarray, b: np.ndarray) -> float:
    """By sets, from the definition."""
    shared = len(set(np.argsort(-a)[:K]) & set(np.argsort(-b)[:K]))
    return (shared - K * K / N) / (K - K * K / N)


def by_hand(early: np.ndarray, end: np.ndarray, seeds: list[int]) -> tuple[float, float]:
    pairs = list(itertools.permutations(seeds, 2))
    return (
        float(np.mean([kappa(early[a], end[b]) for a, b in pairs])),
        float(np.mean([kappa(end[a], end[b]) for a, b in pairs])),
    )


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_a_run_is_never_compared_with_itself_and_a_seed_is_left_out_whole(seeds):
    early, end = runs(seeds, 0.5, 0.5)
    found = milestone_agreement(early, end, K, required=0.9)
    everyone = list(range(seeds))
    agreement, ceiling = by_hand(early, end, everyone)
    assert found.agreement.value == pytest.approx(agreement)
    assert found.ceiling.value == pytest.approx(ceiling)
    assert found.shares.ratio == pytest.approx(agreement / ceiling)
    excess = agreement - 0.9 * ceiling
    assert found.excess.value == pytest.approx(excess)
    left_out = [by_hand(early, end, [other for other in everyone if other != seed]) for seed in everyone]
    without = np.array([a - 0.9 * c for a, c in left_out])
    error = np.sqrt((seeds - 1) / seeds * ((without - without.mean()) ** 2).sum())
    assert found.excess.se == pytest.approx(error)
    assert found.excess.df == seeds - 1
    if seeds >= 5:
        assert found.p_value(0.95) == pytest.approx(float(t.sf(excess / error, seeds - 1)))


def test_a_milestone_that_only_resembles_its_own_run_reaches_nothing():
    # Every run has an end of its own, and its milestone is very like it: agreement with itself alone would be near 1.
    draw = np.random.default_rng(3)
    end = 0.6 * SIGNAL + draw.normal(size=(8, N))
    found = milestone_agreement(end + 0.05 * draw.normal(size=end.shape), end, K)
    assert found.agreement.value < 0.5
    nothing = draw.normal(size=(8, N))
    found = milestone_agreement(nothing, nothing, K)
    assert found.obstacle(0.95) is Reach.NO_CEILING
    assert found.p_value(0.95) is None


@pytest.mark.parametrize(
    ("seeds", "noise", "lost", "verdict"),
    [
        (8, 0.3, 0.02, Reach.REACHED),
        (8, 0.3, 3.0, Reach.NOT_SHOWN),
        (4, 0.3, 0.02, Reach.TOO_FEW_SEEDS),
        (2, 0.3, 0.02, Reach.TOO_FEW_SEEDS),
        (8, 50.0, 0.0, Reach.NO_CEILING),
        (8, 0.0, 0.0, Reach.NO_NOISE),
        (8, 0.0, 1.0, Reach.NO_NOISE),
    ],
)
def test_verdicts_and_what_is_said(seeds, noise, lost, verdict):
    found = milestone_agreement(*runs(seeds, noise, lost), K)
    p = found.p_value(0.95)
    assert found.verdict(p, 0.95) is verdict
    said = milestone_sentence(found, verdict, p, after=0.25, end=1.0, what="ila", level=0.95)
    assert ("the agreement reaches 0.9 of the ceiling" in said) == (verdict is Reach.REACHED)
    assert said.startswith("after 25 % of the reference training (ila,")
    assert "nan" not in said
    if verdict is Reach.TOO_FEW_SEEDS:
        assert "cannot be tested" in said
        assert "at least 5 seeds" in said


def test_a_correction_can_take_a_verdict_away():
    found = milestone_agreement(*runs(8, 0.3, 0.02), K)
    assert found.verdict(0.051, 0.95) is Reach.NOT_SHOWN


def test_masks_that_have_not_moved_yet_agree_with_nothing_exactly():
    """All scores tie: every layer is in the top k with the same probability, and rounding is no interval."""
    _, end = runs(5, 0.5)
    found = milestone_agreement(np.full((5, N), 4.0), end, K)
    assert (found.agreement.value, found.agreement.se) == (0.0, 0.0)
    assert (found.shares.ratio, found.shares.low, found.shares.high) == (0.0, 0.0, 0.0)
    said = milestone_sentence(found, Reach.NOT_SHOWN, 1.0, after=0.05, end=1, what="ila", level=0.95)
    assert "share 0.00, 95 % set [0, 0]" in said


def test_successive_milestones_are_compared_inside_a_run():
    early, end = runs(4, 0.5, 0.3)
    kappas = np.array([kappa(a, b) for a, b in zip(early, end, strict=True)])
    found, tau = successive_agreement(early, end, K)
    assert found.value == pytest.approx(kappas.mean())
    assert found.se == pytest.approx(kappas.std(ddof=1) / 2)
    assert tau == pytest.approx(np.mean([kendalltau(a, b).statistic for a, b in zip(early, end, strict=True)]))
    assert found.interval().high <= 1
    single, _ = successive_agreement(early[:1], end[:1], K)
    assert np.isnan(single.se)


def test_a_fixed_sequence_stops_at_the_first_that_is_not_rejected():
    assert in_sequence([0.01, 0.03, 0.2, 0.001]) == [0.01, 0.03, 0.2, 0.2]
    assert in_sequence([None, 0.02, None, 0.01]) == [None, 0.02, None, 0.02]
    assert in_sequence([]) == []


@pytest.mark.parametrize("shapes", [((1, N), (1, N)), ((3, N), (4, N)), ((N,), (N,))])
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="two score arrays of one shape"):
        milestone_agreement(*(np.zeros(shape) for shape in shapes), K)
