from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layersig.analysis.margins import superiority_by
from layersig.analysis.results import Estimate
from layersig.analysis.sharing import RatioBound, SharingTest, SharingVerdict
from layersig.analysis.twoway import MeanSquares
from layersig.analysis.verdicts import Claim, Scope, Verdict, judge, sharing_sentence, verdict_of

CLAIM = Claim("ila-30", "all-layers", Scope.METHOD, ("norobots",), "SmolLM2-135M", "hellaswag accuracy", 5, 1000)
MOVED = superiority_by(Estimate(0.10, 0.01, 4), 0.02)
CASES = [
    (0.08, 0.01, Verdict.BETTER_BY_MARGIN),
    (0.03, 0.01, Verdict.BETTER_SIZE_UNSETTLED),
    (0.01, 0.002, Verdict.BETTER_WITHIN_MARGIN),
    (0.001, 0.003, Verdict.EQUIVALENT),
    (0.015, 0.012, Verdict.NOT_WORSE),
    (0.0, 0.05, Verdict.UNDECIDED),
]
MIRROR = {
    Verdict.BETTER_BY_MARGIN: Verdict.WORSE_BY_MARGIN,
    Verdict.BETTER_SIZE_UNSETTLED: Verdict.WORSE_SIZE_UNSETTLED,
    Verdict.BETTER_WITHIN_MARGIN: Verdict.WORSE_WITHIN_MARGIN,
    Verdict.NOT_WORSE: Verdict.NOT_BETTER,
    Verdict.EQUIVALENT: Verdict.EQUIVALENT,
    Verdict.UNDECIDED: Verdict.UNDECIDED,
}


@pytest.mark.parametrize(("value", "se", "verdict"), CASES)
def test_verdicts_and_their_mirrors(value: float, se: float, verdict: Verdict):
    assert verdict_of(Estimate(value, se, 20), 0.02) is verdict
    assert verdict_of(Estimate(-value, se, 20), 0.02) is MIRROR[verdict]


@given(st.floats(-0.2, 0.2), st.floats(1e-4, 0.1), st.floats(1, 200))
def test_a_direction_is_claimed_exactly_when_the_interval_leaves_zero(value: float, se: float, df: float):
    estimate = Estimate(value, se, df)
    interval = estimate.interval(0.95)
    said = verdict_of(estimate, 0.02).value
    assert said.startswith("better") == (interval.low > 0)
    assert said.startswith("worse") == (interval.high < 0)


def test_a_direction_needs_the_test_that_stands_beside_it():
    estimate = Estimate(0.125, 0.053, 39)
    assert verdict_of(estimate, 0.02, p=0.03) is Verdict.BETTER_SIZE_UNSETTLED
    assert verdict_of(estimate, 0.02, p=0.0625) is Verdict.NOT_WORSE
    assert verdict_of(Estimate(-1.0, 0.0, 2), 0.02, p=0.25) is Verdict.NOT_BETTER


def test_sentence_names_everything_and_only_these_data_sets():
    claim = replace(CLAIM, data_sets=("lima", "norobots", "alpaca"))
    judgement = judge(Estimate(0.03, 0.01, 20), 0.02, claim, MOVED)
    assert judgement.verdict is Verdict.BETTER_SIZE_UNSETTLED
    assert judgement.sentence == (
        "ila-30 is better than all-layers (size unsettled) as a method on these three data sets "
        "(lima, norobots, alpaca) with SmolLM2-135M in hellaswag accuracy "
        "(S = 5 training runs per arm, n = 1000 items): difference +3 points, 95 % "
        "interval +0.914 to +5.09, margin 2 points."
    )


def test_data_sets_in_general_only_from_eight_on():
    many = judge(Estimate(0.08, 0.01, 20), 0.02, replace(CLAIM, data_sets=tuple("abcdefgh")), MOVED).sentence
    few = judge(Estimate(0.08, 0.01, 20), 0.02, replace(CLAIM, data_sets=tuple("abcdefg")), MOVED).sentence
    assert " on 8 data sets " in many
    assert "these seven data sets (a, b, c, d, e, f, g)" in few
    with pytest.raises(ValueError, match="name its data sets"):
        judge(Estimate(0.08, 0.01, 20), 0.02, replace(CLAIM, data_sets=()), MOVED)


def test_one_run_per_arm_is_refused_at_scope_method_only():
    one_run = replace(CLAIM, seeds=1)
    assert judge(Estimate(0.08, 0.01, 999), 0.02, one_run, MOVED).verdict is Verdict.REFUSED
    checkpoints = judge(Estimate(0.08, 0.01, 999), 0.02, replace(one_run, scope=Scope.CHECKPOINTS), MOVED)
    assert checkpoints.verdict is Verdict.BETTER_BY_MARGIN
    assert "as checkpoints" in checkpoints.sentence
    assert "S = 1 training run per arm" in checkpoints.sentence


def test_a_base_that_was_not_moved_tells_nothing():
    unmoved = superiority_by(Estimate(0.01, 0.01, 4), 0.02)
    judgement = judge(Estimate(0.0, 0.001, 20), 0.02, CLAIM, unmoved)
    assert judgement.verdict is Verdict.CANNOT_TELL
    assert judgement.sentence.startswith("This task cannot tell")
    assert judge(Estimate(0.0, 0.001, 20), 0.02, CLAIM, None).verdict is Verdict.EQUIVALENT


def test_equivalence_shows_the_ninety_percent_interval():
    sentence = judge(Estimate(0.0, 0.005, 20), 0.02, CLAIM, MOVED).sentence
    assert "ila-30 and all-layers are equivalent" in sentence
    assert "90 % interval -0.862 to +0.862" in sentence


def test_undecided_says_what_it_would_take():
    table = MeanSquares(5, 1000, 0.0, 0.2 + 1000 * 0.002, 0.2, 0.2)
    estimate = Estimate(0.0, 0.02, 4)
    assert "seeds per arm" in judge(estimate, 0.02, CLAIM, MOVED, table).sentence
    stubborn = MeanSquares(5, 1000, 0.0, 0.2, 0.2 + 5 * 0.9, 0.2)
    assert "takes more items" in judge(estimate, 0.02, CLAIM, MOVED, stubborn).sentence
    checkpoints = replace(CLAIM, scope=Scope.CHECKPOINTS)
    few = judge(Estimate(0.0, 0.02, float("inf")), 0.02, checkpoints, MOVED).sentence
    assert "About 3842 items" in few
    assert "half-width is" in judge(estimate, 0.02, CLAIM, MOVED).sentence


def test_lower_is_better_for_a_loss():
    loss = replace(CLAIM, metric="held-out loss", unit="nats", scale=1.0, higher_is_better=False)
    judgement = judge(Estimate(-0.08, 0.01, 20), 0.02, loss, MOVED)
    assert judgement.verdict is Verdict.BETTER_BY_MARGIN
    assert "difference -0.08 nats" in judgement.sentence
    assert judgement.sentence.startswith("ila-30 is better than all-layers by more than the margin")


@pytest.mark.parametrize("verdict", list(SharingVerdict))
def test_share_layers_is_said_only_when_it_was_shown(verdict: SharingVerdict):
    test = SharingTest(RatioBound(0.97, 0.93, 0.95), 0.9, 5, verdict)
    sentence = sharing_sentence(test, 63, 210, ("lima", "norobots"), "SmolLM2-135M", "ila")
    assert ("share layers" in sentence) == (verdict is SharingVerdict.SHARED)
    assert "these two data sets (lima, norobots)" in sentence
    assert ("lower bound 0.93" in sentence) == (verdict not in (SharingVerdict.NO_CEILING, SharingVerdict.NO_NOISE))
    assert "top 63 of 210" in sentence
