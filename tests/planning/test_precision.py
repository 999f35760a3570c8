"""Detectable differences of declared comparisons beside those that simulated studies find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from layersig.analysis.paired import PairedShares
from layersig.analysis.tables import mean_of
from layersig.findings.outcomes import Measure
from layersig.pipeline import stages
from layersig.planning.assumptions import SPREADS, assumptions
from layersig.planning.declared import declared
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.planning.precision import Precision, detectable, precision
from layersig.planning.text import precision_lines
from layersig.recipe.load import load
from tests.planning.studies import write

LOSS, SHARE = Measure("heldout/chats", "loss"), Measure("choice", "acc")


def _facts(path: Path, overrides: Sequence[str] = (), given: Sequence[str] = ()) -> Facts:
    """A recipe without a machine."""
    loaded = load(path, overrides)
    graph = stages(loaded.recipe, loaded.components)
    return Facts(Known(loaded, graph, {}, {}, {}, frozenset()), assumptions(given, loaded.recipe))


def _planned(path: Path, overrides: Sequence[str] = (), given: Sequence[str] = ()) -> list[Precision]:
    return precision(_facts(path, overrides, ("rows.chats=106", *given)), None)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with one declared arm, six conversations held out."""
    return write(tmp_path_factory.mktemp("precision"), "lora")


@pytest.mark.parametrize(
    ("seeds", "items", "variances", "level"),
    [
        (2, 60, (0.0, 0.5, 1.0), 0.05),
        (3, 48, (0.0, 0.0, 1.0), 0.0125),
        (3, 200, (0.01, 0.3, 1.0), 0.05),
        (5, 40, (0.05, 0.0, 0.5), 0.025),
        (8, 100, (0.0, 1.0, 1.0), 0.01),
    ],
)
def test_over_seeds_and_items_it_is_what_simulated_studies_find(
    seeds: int, items: int, variances: tuple[float, float, float], level: float
) -> None:
    # Whole tables, tested by the very estimate of the reports.
    rng, short = np.random.default_rng(seeds), []
    seed, item, residual = np.sqrt(variances)
    for _ in range(1200):
        table = (
            seed * rng.standard_normal((seeds, 1))
            + item * rng.standard_normal(items)
            + residual * rng.standard_normal((seeds, items))
        )
        found = mean_of(table)
        assert found is not None
        short.append(stats.t.isf(level / 2, found.df) * found.se - found.value)
    assert detectable(LOSS, seeds, items, variances, level) == pytest.approx(np.quantile(short, 0.8), rel=0.15)


@pytest.mark.parametrize(("items", "level"), [(48, 0.05), (520, 0.0125)])
def test_over_items_it_is_what_simulated_studies_find(items: int, level: float) -> None:
    rng = np.random.default_rng(items)
    tables = rng.standard_normal((4000, items))
    reach = stats.t.isf(level / 2, items - 1) * tables.std(axis=1, ddof=1) / items**0.5 - tables.mean(axis=1)
    assert detectable(LOSS, 1, items, (9.0, 0.4, 0.6), level) == pytest.approx(np.quantile(reach, 0.8), rel=0.15)


@pytest.mark.parametrize(("items", "discordance"), [(100, 0.3), (400, 0.1)])
def test_of_right_and_wrong_items_it_is_what_the_exact_test_finds(items: int, discordance: float) -> None:
    found = detectable(SHARE, 1, items, (0.0, 0.0, discordance), 0.05)
    assert found is not None
    rng, power = np.random.default_rng(items), []
    for difference in (0.85 * found, 1.15 * found):
        differ = max(discordance, difference)
        counts = rng.multinomial(items, [(differ + difference) / 2, (differ - difference) / 2, 1 - differ], size=400)
        power.append(np.mean([PairedShares(int(won), int(lost), items).p_value() <= 0.05 for won, lost, _ in counts]))
    assert power[0] < 0.8 < power[1]


def test_too_few_items_find_nothing() -> None:
    assert detectable(SHARE, 1, 4, (0.0, 0.0, 0.1), 0.05) is None


def test_everything_declared_is_one_family(recipe: Path) -> None:
    plain = _planned(recipe)
    assert [(each.declared.kind, each.family, each.level) for each in plain] == [
        ("comparison", 2, 0.025),
        ("as good", 2, 0.025),
    ]
    more = _planned(recipe, ('analyze.outcome=["heldout","choice"]', 'analyze.contrasts=[["ila-30","matched-random"]]'))
    kinds = [(each.declared.kind, each.declared.reference, each.declared.measure.task) for each in more]
    assert kinds == [
        ("comparison", "all-layers", "heldout/chats"),
        ("comparison", "matched-random", "heldout/chats"),
        ("as good", "all-layers", "heldout/chats"),
        ("comparison", "all-layers", "choice"),
        ("comparison", "matched-random", "choice"),
        ("as good", "all-layers", "choice"),
    ]
    assert {each.level for each in more} == {0.05 / 6}
    # A larger family makes each of its members coarser.
    assert (more[0].detectable or 0) > (plain[0].detectable or 0)


def test_the_family_is_that_of_the_report(recipe: Path) -> None:
    # `findings.conclusions` corrects declared comparisons and claims together.
    members = declared(_facts(recipe, ('analyze.primary=["ila-30","graft-30"]', "seeds=[0,1,2]")))
    assert sorted((each.kind, each.arm) for each in members) == [
        ("as good", "graft-30"),
        ("as good", "ila-30"),
        ("comparison", "graft-30"),
        ("comparison", "ila-30"),
    ]
    assert {each.seeds for each in members} == {3}
    pair = ("analyze.primary=[]", 'analyze.contrasts=[["ila-30","all-layers"]]')
    assert [each.kind for each in declared(_facts(recipe, pair))] == ["comparison", "as good"]


def test_rows_that_training_leaves_out_are_not_planned(recipe: Path) -> None:
    for more, expected in (((), 94), (("data.0.train_limit=7",), 7), (("data.0.train_limit=700",), 94)):
        assert _facts(recipe, ("data.0.limit=100", *more)).rows("chats", "train") == expected


def test_trends_along_sweeps_are_in_the_family(recipe: Path) -> None:
    sweep = 'sweeps=[{name="rank", quantity="train.rank", values=[2, 4], entries=["ila-30", "graft-30"]}]'
    assert {each.family for each in _planned(recipe, (sweep, 'analyze.primary=["ila-30"]'))} == {3}


def test_what_is_assumed_is_marked_and_what_is_stated_counts(recipe: Path) -> None:
    assumed, stated = _planned(recipe)[0], _planned(recipe, (), ("loss.item=0.3", "loss.residual=0.4"))[0]
    assert (assumed.origin, stated.origin) == ("assumed", "stated")
    between = (SPREADS["loss.item"] ** 2 + SPREADS["loss.residual"] ** 2) ** 0.5
    assert assumed.detectable == pytest.approx((stated.detectable or 0) * between / 0.5)


@pytest.mark.parametrize(
    ("overrides", "given", "kind", "said"),
    [
        ((), ("loss.item=0.5",), "comparison", "smallest that matters"),
        ((), ("loss.item=0.001", "loss.residual=0.001"), "comparison", None),
        (("analyze.margins.loss=5",), ("loss.item=0.5", "gain=0.1"), "comparison", "keeps nothing of the gain"),
        ((), ("gain=0.1",), "as good", "and all layers gain 0.1"),
        ((), ("gain=50",), "as good", None),
        (("analyze.gain_kept=0.5",), ("gain=0.1",), "as good", "keeps 50 % of the gain"),
        (("analyze.gain_kept=1.0",), ("gain=50",), "as good", "more than equality"),
        (('analyze.gain_kept="margin"', "analyze.margins.loss=0.001"), (), "as good", "shown to lose less than"),
        (('analyze.gain_kept="margin"', "analyze.margins.loss=5"), (), "as good", None),
        (("data.0.heldout=1",), (), "comparison", "no difference can be detected"),
    ],
)
def test_a_design_that_cannot_tell_is_warned_of(
    recipe: Path, overrides: Sequence[str], given: Sequence[str], kind: str, said: str | None
) -> None:
    found = next(each for each in _planned(recipe, overrides, given) if each.declared.kind == kind)
    assert bool(found.warnings) is (said is not None), found.warnings
    assert said is None or said in found.warnings[0]


def test_shares_are_said_in_points_throughout_and_never_more_than_100(recipe: Path) -> None:
    asked, sizes = ("analyze.outcome=choice", "seeds=[0,1,2,3,4]"), ("items.choice=60",)
    fine = _planned(recipe, asked, ("share.seed=0.001", "share.item=0.01", "share.residual=0.2", *sizes, "gain=0.02"))
    comparison, claim = "\n".join(precision_lines(fine)).split("as good")
    assert f"a difference of {100 * (fine[0].detectable or 0):.3g} points" in comparison
    assert (
        f"cannot tell' of differences up to {100 * (fine[0].detectable or 0):.3g} points, and 1 point is" in comparison
    )
    assert f"all layers must gain at least {100 * (fine[1].least_gain or 0):.3g} points" in claim
    assert "and all layers gain 2 points" in claim
    coarse = _planned(recipe, asked, ("share.seed=0.3", *sizes, "gain=0.1"))
    assert (coarse[1].least_gain or 0) > 1
    said = "\n".join(precision_lines(coarse))
    assert "nothing: all layers would have to gain more than 100 points" in said
    assert "takes a gain of more than 100 points, and all layers gain 10 points" in said


def test_a_gain_that_an_equal_arm_needs_gives_80_percent_power(recipe: Path) -> None:
    # At that gain, the one-sided test of arm - base - 0.9 (all - base) finds an arm that equals all layers.
    found = _planned(recipe, ("seeds=[0,1,2,3,4]",))[1]
    assert found.least_gain is not None
    n, rng, kept = 6, np.random.default_rng(0), 0
    seed, item, residual = (SPREADS[f"loss.{each}"] * (1 + 0.1**2) ** 0.5 for each in ("seed", "item", "residual"))
    for _ in range(1500):
        table = 0.1 * found.least_gain + (
            seed * rng.standard_normal((5, 1)) + item * rng.standard_normal(n) + residual * rng.standard_normal((5, n))
        )
        estimate = mean_of(table)
        assert estimate is not None
        kept += estimate.value > stats.t.isf(found.level, estimate.df) * estimate.se
    assert kept / 1500 == pytest.approx(0.8, abs=0.04)


def test_items_that_are_not_known_are_asked_for(recipe: Path) -> None:
    found = precision(_facts(recipe, ('analyze.outcome="choice"',)), None)
    assert {each.declared.items for each in found} == {None}
    assert {each.detectable for each in found} == {None}
    known = precision(_facts(recipe, ('analyze.outcome="choice"',), ("items.choice=200",)), None)
    assert {each.declared.items for each in known} == {200}
    assert all(each.detectable for each in known)


def test_without_a_reference_to_keep_a_share_of_nothing_is_as_good(tmp_path: Path) -> None:
    found = precision(_facts(write(tmp_path, "pruning"), (), ("rows.chats=40",)), None)
    assert {(each.declared.kind, each.declared.reference) for each in found} == {("comparison", "base")}


def test_a_declared_look_is_planned_at_the_level_that_is_left_for_it(recipe: Path) -> None:
    plain, first, last = (
        precision(_facts(recipe, (seeds, *looks), ("rows.chats=106",)), None)[0]
        for seeds, looks in (
            ("seeds=[0,1]", ()),
            ("seeds=[0,1]", ("analyze.looks=[2,5]",)),
            ("seeds=[0,1,2,3,4]", ("analyze.looks=[2,5]",)),
        )
    )
    alpha = plain.level  # of a test of the family
    assert first.level == pytest.approx(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / 0.4**0.5))
    assert 0.9 * alpha < last.level < alpha
    assert first.detectable is not None
    assert plain.detectable is not None
    assert first.detectable > plain.detectable
