import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from layersig.analysis.agreement_sentences import sharing_sentence
from layersig.analysis.assay import AssayResult, assay
from layersig.analysis.claim import Claim
from layersig.analysis.multiplicity import holm
from layersig.analysis.results import Estimate
from layersig.analysis.sentences import Correction, Judgement, RequiredSize, estimation, judge
from layersig.analysis.sharing import RatioBound, SharingTest, SharingVerdict
from layersig.analysis.verdicts import Scope, Verdict, verdict_of

CLAIM = Claim("ila-30", "all-layers", Scope.METHOD, ("norobots",), "SmolLM2-135M", "hellaswag accuracy", 5, 1000)
LOSS = replace(CLAIM, metric="held-out loss", unit="nats", scale=1.0, higher_is_better=False)
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
FIGURES = re.compile(
    r"difference (?P<value>\S+) \S+, (?P<level>\S+) % interval (?P<low>\S+) to (?P<high>[^,;]+).*?, "
    r"p (?P<sign>[=<]) (?P<p>[\d.e-]+) for no difference"
)


def alone(estimate: Estimate, declared: bool = True) -> Correction:
    """The only comparison of its family."""
    return Correction(declared, 1, estimate.p_value())


def judged(value: float, se: float, claim: Claim = CLAIM, df: float = 20, **more: object) -> Judgement:
    estimate = Estimate(value, se, df)
    return judge(estimate, 0.02, claim, alone(estimate), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "se", "verdict"), CASES)
def test_verdicts_and_their_mirrors(value: float, se: float, verdict: Verdict):
    assert verdict_of(Estimate(value, se, 20), 0.02)[0] is verdict
    assert verdict_of(Estimate(-value, se, 20), 0.02)[0] is MIRROR[verdict]
    assert judged(value, se).verdict is verdict
    assert judged(-value, se, LOSS).verdict is verdict


@given(st.floats(-0.2, 0.2), st.floats(1e-4, 0.1), st.floats(1, 200))
def test_a_direction_is_claimed_exactly_when_the_interval_leaves_zero(value: float, se: float, df: float):
    estimate = Estimate(value, se, df)
    interval = estimate.interval(0.95)
    verdict, stated = verdict_of(estimate, 0.02)
    assert verdict.better == (interval.low > 0)
    assert verdict.worse == (interval.high < 0)
    assert stated == interval or verdict.sameness


def test_a_direction_needs_the_test_beside_it():
    estimate = Estimate(0.125, 0.053, 39)
    assert verdict_of(estimate, 0.02, p=0.03)[0] is Verdict.BETTER_SIZE_UNSETTLED
    assert verdict_of(estimate, 0.02, p=0.0625)[0] is Verdict.NOT_WORSE
    assert verdict_of(Estimate(-1.0, 0.0, 2), 0.02, p=0.25)[0] is Verdict.NOT_BETTER


SE = st.sampled_from([0.001, 0.004, 0.01, 0.03])


@given(st.lists(st.tuples(st.floats(-0.1, 0.1), SE), min_size=1, max_size=10), st.sampled_from([20.0, 2.0]))
def test_a_family_says_a_direction_exactly_where_holm_finds_one(members: list[tuple[float, float]], df: float):
    estimates = [Estimate(value, se, df) for value, se in members]
    adjusted = holm(np.array([each.p_value() for each in estimates]))
    for estimate, p in zip(estimates, adjusted, strict=True):
        verdict, stated = verdict_of(estimate, 0.02, p=float(p), tests=len(members))
        assert (verdict.better or verdict.worse) == (p <= 0.05)
        simultaneous = estimate.interval(1 - (0.1 if verdict.sameness else 0.05) / len(members))
        assert stated.level == simultaneous.level
        assert {stated.low} <= {simultaneous.low, 0.0}
        assert {stated.high} <= {simultaneous.high, 0.0}
        assert stated.low >= 0 if verdict.better else stated.high <= 0 if verdict.worse else True


def test_sizes_are_corrected_for_the_family_too():
    estimate = Estimate(0.0, 0.01, 1000)
    assert verdict_of(estimate, 0.02, p=1.0)[0] is Verdict.EQUIVALENT
    assert verdict_of(estimate, 0.02, p=1.0, tests=9)[0] is Verdict.UNDECIDED
    large = Estimate(0.045, 0.01, 1000)
    assert verdict_of(large, 0.02, p=0.001)[0] is Verdict.BETTER_BY_MARGIN
    assert verdict_of(large, 0.02, p=0.009, tests=9)[0] is Verdict.BETTER_SIZE_UNSETTLED


@pytest.mark.parametrize("truth", [0.0, -0.0201, 0.0201, -0.026, 0.019])
def test_a_family_of_nine_seldom_says_anything_false(truth: float):
    """Directions at 0, sizes at the margin: the chance of any false statement in a family stays at 5 %."""
    rng, false, margin, families = np.random.default_rng(3), 0, 0.02, 600
    for _ in range(families):
        estimates = [Estimate(truth + 0.006 * z, 0.006, 400) for z in rng.standard_normal(9)]
        adjusted = holm(np.array([each.p_value() for each in estimates]))
        found = [verdict_of(e, margin, p=float(p), tests=9)[0] for e, p in zip(estimates, adjusted, strict=True)]
        false += any(untrue(verdict, truth, margin) for verdict in found)
    assert false / families <= 0.05 + 3 * (0.05 * 0.95 / families) ** 0.5


def untrue(verdict: Verdict, truth: float, margin: float) -> bool:
    return {
        Verdict.BETTER_BY_MARGIN: truth <= margin,
        Verdict.BETTER_SIZE_UNSETTLED: truth <= 0,
        Verdict.BETTER_WITHIN_MARGIN: not 0 < truth < margin,
        Verdict.EQUIVALENT: abs(truth) >= margin,
        Verdict.NOT_WORSE: truth <= -margin,
        Verdict.NOT_BETTER: truth >= margin,
        Verdict.WORSE_WITHIN_MARGIN: not -margin < truth < 0,
        Verdict.WORSE_SIZE_UNSETTLED: truth >= 0,
        Verdict.WORSE_BY_MARGIN: truth >= -margin,
    }.get(verdict, False)


def test_sentence_names_everything_and_only_these_data_sets():
    claim = replace(CLAIM, data_sets=("lima", "norobots", "alpaca"))
    judgement = judge(Estimate(0.03, 0.01, 20), 0.02, claim, Correction(True, 1, 0.0073))
    assert judgement.verdict is Verdict.BETTER_SIZE_UNSETTLED
    assert judgement.sentence == (
        "Declared: ila-30 is better than all-layers (size unsettled) as a method on these three data sets "
        "(lima, norobots, alpaca) with SmolLM2-135M in hellaswag accuracy "
        "(S = 5 training runs per arm, n = 1000 items): difference +3 points, 95 % "
        "interval +0.914 to +5.09, margin 2 points, p = 0.0073 for no difference; the only declared test of its "
        "family."
    )


VALUES = (-0.3, -0.06, -0.021, -0.004, 0.0, 0.0001, 0.015, 0.05, 0.2)
GRID = tuple(product(VALUES, (0.0004, 0.005, 0.02), (1, 3, 17), (True, False), (None, True, False), (CLAIM, LOSS)))


@pytest.mark.parametrize(("value", "se", "tests", "declared", "moved", "claim"), GRID)
def test_every_sentence_says_what_its_numbers_say(
    value: float, se: float, tests: int, declared: bool, moved: bool | None, claim: Claim
):
    estimate = Estimate(value, se, 30)
    p = min(1.0, tests * estimate.p_value())
    said = judge(estimate, 0.02, claim, Correction(declared, tests, p), moved=moved)
    assert said.sentence.startswith("Declared: " if declared else "Exploratory: ")
    shown = FIGURES.search(said.sentence)
    assert shown is not None
    assert said.interval is not None
    low, high = (float(shown[end]) / claim.scale for end in ("low", "high"))
    assert (low, high) == pytest.approx((said.interval.low, said.interval.high), rel=6e-3, abs=1e-12)
    assert float(shown["level"]) == pytest.approx(100 * said.interval.level, rel=1e-3)
    assert p < 0.001 if shown["sign"] == "<" else float(shown["p"]) == pytest.approx(p, rel=5e-3)
    favourable = value if claim.higher_is_better else -value
    assert not said.verdict.better or (favourable > 0 and p <= 0.05)
    assert not said.verdict.worse or (favourable < 0 and p <= 0.05)
    assert said.verdict.better or said.verdict.worse or p > 0.05
    assert not (said.verdict.sameness and moved is False)
    assert ("corrected for" in said.sentence) == (tests > 1)


def test_data_sets_in_general_only_from_eight_on():
    many = judged(0.08, 0.01, replace(CLAIM, data_sets=tuple("abcdefgh"))).sentence
    few = judged(0.08, 0.01, replace(CLAIM, data_sets=tuple("abcdefg"))).sentence
    assert " on 8 data sets " in many
    assert "these seven data sets (a, b, c, d, e, f, g)" in few
    none = judged(0.08, 0.01, replace(CLAIM, data_sets=())).sentence
    assert "data set" not in none
    assert f" with {CLAIM.model} in " in none


def test_one_run_per_arm_is_refused_at_scope_method_only():
    one_run = replace(CLAIM, seeds=1)
    assert judged(0.08, 0.01, one_run).verdict is Verdict.REFUSED
    checkpoints = judged(0.08, 0.01, replace(one_run, scope=Scope.CHECKPOINTS))
    assert checkpoints.verdict is Verdict.BETTER_BY_MARGIN
    assert "as checkpoints" in checkpoints.sentence
    assert "S = 1 training run per arm" in checkpoints.sentence


@pytest.mark.parametrize(
    ("value", "se", "moved"),
    [
        (0.05, 0.01, AssayResult.GAIN),
        (0.05, 0.05, AssayResult.NOT_SHOWN),  # a gain that the task is too small to show
        (0.0, 0.0001, AssayResult.NOT_SHOWN),
        (-0.05, 0.05, AssayResult.NOT_SHOWN),
        (-0.182, 0.02, AssayResult.LOSS),
    ],
)
@pytest.mark.parametrize("claim", [CLAIM, LOSS])
def test_what_all_layers_do_is_shown_on_either_side_or_not_shown(
    value: float, se: float, moved: AssayResult, claim: Claim
):
    claim = replace(claim, arm="all-layers", reference="base")
    raw = value if claim.higher_is_better else -value
    found = assay(Estimate(raw, se, 40), 0.02, claim)
    assert found.moved is moved
    assert ("are not shown to gain or lose more than the margin of" in found.sentence) == (
        moved is AssayResult.NOT_SHOWN
    )
    assert ("better and worse are still tested" in found.sentence) == (moved is AssayResult.NOT_SHOWN)
    assert "does not move" not in found.sentence
    figures = f"gain {claim.scale * value:+.3g} {claim.unit}, 90 % interval without correction "
    assert f"{figures}{claim.scale * found.interval.low:+.3g}" in found.sentence
    assert (found.interval.low, found.interval.high) == pytest.approx(
        stats.t(40, value, se).interval(0.90), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize(("value", "se", "verdict"), CASES)
def test_only_claims_of_sameness_need_a_task_that_shows_differences(value: float, se: float, verdict: Verdict):
    for sign, expected in ((1, verdict), (-1, MIRROR[verdict])):
        found = judged(sign * value, se, moved=False).verdict
        assert found is (Verdict.NO_ASSAY if expected.sameness else expected)
        assert judged(sign * value, se, moved=True).verdict is expected


def test_equivalence_shows_the_ninety_percent_interval():
    sentence = judged(0.0, 0.005).sentence
    assert "ila-30 and all-layers are equivalent" in sentence
    assert "90 % interval -0.862 to +0.862" in sentence


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        (RequiredSize(4210, "items"), "About 4,210 items like these would show two equal arms to be equivalent"),
        (RequiredSize(12, "seeds"), "About 12 seeds per arm with these items would show"),
        (
            RequiredSize(None, "seeds"),
            "No number of seeds would show two equal arms to be equivalent with 80 % power with",
        ),
    ],
)
def test_undecided_says_what_it_would_take(needed: RequiredSize, words: str):
    assert words in judged(0.0, 0.05, needed=needed).sentence
    assert words not in judged(0.08, 0.01, needed=needed).sentence


def test_lower_is_better_for_a_loss():
    judgement = judged(-0.08, 0.01, LOSS)
    assert judgement.verdict is Verdict.BETTER_BY_MARGIN
    assert "difference -0.08 nats" in judgement.sentence
    assert judgement.sentence.startswith("Declared: ila-30 is better than all-layers by more than the margin")


def test_outside_of_the_families_there_is_an_estimate_and_no_verdict():
    sentence, interval = estimation(Estimate(0.03, 0.01, 20), CLAIM, None)
    assert sentence.startswith("Exploratory: ila-30 against all-layers as a method")
    assert "difference +3 points, 95 % interval +0.914 to +5.09. No verdict" in sentence
    assert interval == Estimate(0.03, 0.01, 20).interval(0.95)
    declared, wider = estimation(Estimate(0.03, 0.01, 20), CLAIM, Correction(True, 3, 0.02))
    assert declared.startswith("Declared: ")
    assert "p = 0.02 for no difference; interval and p corrected for 3 declared tests. No verdict" in declared
    assert wider == Estimate(0.03, 0.01, 20).interval(1 - 0.05 / 3)


@pytest.mark.parametrize("verdict", list(SharingVerdict))
def test_share_layers_is_said_only_when_it_was_shown(verdict: SharingVerdict):
    test = SharingTest(RatioBound(0.97, 0.93, 0.95), 0.9, 5, verdict)
    sentence = sharing_sentence(test, 63, 210, ("lima", "norobots"), "SmolLM2-135M", "ila")
    assert ("share layers" in sentence) == (verdict is SharingVerdict.SHARED)
    assert sentence.startswith("Exploratory: ")
    assert "these two data sets (lima, norobots)" in sentence
    assert ("lower bound 0.93" in sentence) == (
        verdict not in (SharingVerdict.NO_CEILING, SharingVerdict.NO_NOISE, SharingVerdict.EQUAL)
    )
    assert "top 63 of 210" in sentence
