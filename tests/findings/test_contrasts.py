"""What a comparison shows where nothing, or little, varies; weights; strata; plans."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from layersig.findings.arms import Arms
from layersig.findings.conclusions import conclusions
from layersig.findings.contrasts import Contrast, contrast
from layersig.findings.outcomes import Items, Measure, OutcomeTables, outcome_tables
from layersig.findings.plan import Plan
from layersig.judging.records import SCORE
from layersig.records import Cell, Outcome
from tests.findings.recipes import FEW, recipe_of

Vector = np.ndarray


def tables(
    metric: str,
    few: list[Vector],
    everything: list[Vector],
    base: Vector | None = None,
    weights: Vector | None = None,
    clusters: list[str] | None = None,
    stratified: bool = False,
) -> OutcomeTables:
    def rows(values: Vector) -> list[Outcome]:
        n = len(values)
        w, c = np.ones(n) if weights is None else weights, [None] * n if clusters is None else clusters
        return [Outcome("t", f"i{i}", metric, float(values[i]), float(w[i]), c[i]) for i in range(n)]

    cells = [(Cell(arm="base"), rows(everything[0] if base is None else base))]
    for arm, runs in (("few", few), ("all-layers", everything)):
        cells += [(Cell(arm=arm, data="d", seed=seed), rows(run)) for seed, run in enumerate(runs)]
    return outcome_tables(cells, stratified={"t"} if stratified else frozenset())


def pair(found: OutcomeTables, metric: str) -> Contrast:
    made = contrast(found, Measure("t", metric), "d", "few", "all-layers")
    assert made is not None
    return made


def arms(found: OutcomeTables, seeds: int) -> Arms:
    recipe = recipe_of(FEW, seeds=tuple(range(seeds)), analyze={"outcome": "t"})
    return Arms(found, recipe, Plan(recipe, frozenset()), "m")


ONE, NONE = np.ones(40), np.zeros(40)
HALF = np.arange(40) % 2.0
LAST = np.append(np.zeros(39), 1.0)


@pytest.mark.parametrize("runs", [1, 2, 5])
@pytest.mark.parametrize("clusters", [None, [f"c{i // 2}" for i in range(40)], [f"c{i // 30}" for i in range(40)]])
@pytest.mark.parametrize(("few", "everything"), [(ONE, ONE), (NONE, ONE), (HALF, HALF), (ONE, NONE), (LAST, NONE)])
def test_right_or_wrong_items_that_do_not_vary_have_an_error(
    few: Vector, everything: Vector, clusters: list[str] | None, runs: int
) -> None:
    study = arms(tables("acc", [few] * runs, [everything] * runs, base=1 - everything, clusters=clusters), runs)
    for row in [*study.results(), *conclusions(study).comparisons, *study.shares()]:
        assert row.no_interval is None
        if getattr(row, "shape", "interval") == "everything":
            continue
        assert row.low is not None
        assert row.high is not None
        assert row.high - row.low > 0.05
    for row in study.results():
        assert row.se is not None
        assert row.se > 0
        assert 0 <= (row.low or 0) <= row.value <= (row.high or 0) <= 1
    for row in conclusions(study).comparisons:
        assert -1 <= (row.low or 0) <= row.estimate <= (row.high or 0) <= 1
        assert row.p is not None
        assert row.p > 0
        assert row.detectable is not None


@pytest.mark.parametrize(("runs", "items"), [(2, 2), (2, 5), (3, 4), (5, 5), (1, 2), (1, 5), (8, 3)])
def test_a_handful_of_items_makes_no_arm_better(runs: int, items: int) -> None:
    study = arms(tables("acc", [np.ones(items)] * runs, [np.zeros(items)] * runs), runs)
    [row] = [row for row in conclusions(study).comparisons if row.arm == "few"]
    assert row.estimate == 1
    assert row.p is not None
    assert row.p > 0.05
    assert "better" not in str(row.verdict).replace("not better", "").replace("not worse", "")
    assert row.low is not None
    assert row.low <= 0


def test_the_sentence_prints_the_interval_of_its_row_and_the_verdict_follows_from_it() -> None:
    rng = np.random.default_rng(2)
    for metric, runs, share in (("acc", 1, 0.97), ("acc", 3, 0.9), ("loss", 1, 0.5)):
        few, everything = ([(rng.uniform(size=300) < share).astype(float) for _ in range(runs)] for _ in range(2))
        study = arms(tables(metric, few, everything, base=np.zeros(300) + (metric == "loss") * 5), runs)
        for row in conclusions(study).comparisons:
            if row.arm == "base" or row.sentence is None:
                continue
            scale = 100 if metric == "acc" else 1
            made = pair(study.outcomes, metric).estimate
            assert made is not None
            shown = [made.interval(level) for level in (0.95, 0.9)]
            ends = [f"{scale * each.low:+.3g} to {scale * each.high:+.3g}" for each in shown]
            assert (row.low, row.high) == (shown[0].low, shown[0].high)
            assert any(end in row.sentence for end in ends)


@pytest.mark.parametrize(
    ("metric", "few", "everything"),
    [
        ("loss", np.full(40, 1.5), np.full(40, 1.2)),
        ("loss", np.linspace(1, 2, 40), np.linspace(1, 2, 40)),
        (SCORE, np.full(2, 7.0), np.full(2, 7.0)),
        (SCORE, np.ones(30), np.ones(30)),
        (SCORE, np.array([7.1, 8.1, 3.1]), np.array([7.0, 8.0, 3.0])),
        ("rouge_l", np.linspace(0.1, 0.9, 9), np.linspace(0, 0.8, 9)),
        ("steps", np.ones(12), np.ones(12)),
        ("loss", np.linspace(1, 2, 40) + 1e-8 * np.arange(40) % 3, np.linspace(1, 2, 40)),
    ],
)
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_other_values_without_variation_have_no_interval_and_no_verdict(
    metric: str, few: Vector, everything: Vector, runs: int
) -> None:
    made = pair(tables(metric, [few] * runs, [everything] * runs), metric)
    assert made.estimate is None
    assert made.no_interval == "nothing varies, so the size of the error is unknown"
    tested = made.test(np.random.default_rng(0))
    assert tested.p is None
    assert str(made.no_interval) in tested.name
    assert made.judge(0.02, "m", None, 0.05, None) is None
    assert made.detectable(0.05) is None


def test_one_item_says_that_it_is_one() -> None:
    made = pair(tables("acc", [np.ones(1)], [np.zeros(1)]), "acc")
    assert made.no_interval == "there are fewer than two independent items"
    assert made.estimate is None


def test_an_arm_like_all_layers_keeps_all_of_the_gain_without_certainty() -> None:
    loss = np.random.default_rng(1).normal(2, 0.3, size=30)
    study = arms(tables("loss", [loss], [loss], base=loss + 0.1 + 0.01 * np.arange(30)), 1)
    [row] = [row for row in study.shares() if row.arm == "few"]
    assert row.share == 1
    assert (row.shape, row.low, row.high, row.bootstrap_low) == (None, None, None, None)
    assert "nothing varies" in str(row.no_interval)
    right = arms(tables("acc", [HALF], [HALF], base=NONE), 1)
    [row] = [row for row in right.shares() if row.arm == "few"]
    assert (row.share, row.shape) == (1, "interval")
    assert row.low is not None
    assert row.low < 0.95
    assert row.bootstrap_low is None


def test_draws_of_items_are_no_interval_for_a_method() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(2, 0.3, size=60)
    for runs, known in ((1, True), (3, False)):
        few, everything = ([base - gain + 0.1 * rng.normal(size=60) for _ in range(runs)] for gain in (0.3, 0.4))
        [row] = [row for row in arms(tables("loss", few, everything, base=base), runs).shares() if row.arm == "few"]
        assert (row.bootstrap_low is not None) is known
        assert row.shape == "interval"


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_signs_are_flipped_of_products_with_the_weights(sigma: float) -> None:
    rng = np.random.default_rng(4)
    weights, d = np.exp(sigma * rng.normal(size=14)), rng.normal(0.4, 1, size=14)
    made = pair(tables("loss", [d], [np.zeros(14)], weights=weights), "loss")
    signs = 1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)
    sums = np.abs(signs @ (weights * d))
    assert made.test(rng).p == pytest.approx((sums >= abs(weights @ d) - 1e-9).mean())


def test_clusters_are_flipped_by_their_totals() -> None:
    rng = np.random.default_rng(5)
    names = [f"c{c}" for c, size in enumerate((1, 2, 4, 1, 2, 7, 2, 1)) for _ in range(size)]
    d = rng.normal(0.3, 1, size=20)
    made = pair(tables("loss", [d], [np.zeros(20)], clusters=names), "loss")
    totals = np.array([d[[name == c for name in names]].sum() for c in dict.fromkeys(names)])
    signs = 1 - 2 * ((np.arange(2**8)[:, None] >> np.arange(8)) & 1)
    assert made.test(rng).p == pytest.approx((np.abs(signs @ totals) >= abs(totals.sum()) - 1e-9).mean())


def test_a_few_unequal_clusters_leave_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(6)
    names = [f"c{c}" for c, size in enumerate((1, 2, 4, 8, 16, 32)) for _ in range(size)]
    made = pair(tables("loss", [rng.normal(size=63)], [rng.normal(size=63)], clusters=names), "loss").estimate
    assert made is not None
    assert made.df < 2.5
    several = tables("loss", [rng.normal(size=63) for _ in range(8)], [np.zeros(63)] * 8, clusters=names)
    over_runs = pair(several, "loss").estimate
    assert over_runs is not None
    assert over_runs.df < 40


@pytest.mark.parametrize("runs", [1, 4])
def test_parts_of_a_task_are_fixed_unless_they_are_a_sample(runs: int) -> None:
    rng = np.random.default_rng(7)
    parts = [f"subject-{i // 25}" for i in range(100)]
    shift = np.repeat([-1.0, -0.3, 0.4, 1.0], 25)
    few = [shift + rng.normal(size=100) for _ in range(runs)]
    found = {
        fixed: pair(tables("loss", few, [np.zeros(100)] * runs, clusters=parts, stratified=fixed), "loss")
        for fixed in (True, False)
    }
    sampled, fixed = found[False], found[True]
    assert fixed.value == pytest.approx(sampled.value)
    assert (fixed.items.n_strata, fixed.items.n_clusters) == (4, None)
    assert (sampled.items.n_strata, sampled.items.n_clusters) == (None, 4)
    assert fixed.estimate is not None
    assert sampled.estimate is not None
    assert fixed.estimate.se < 0.5 * sampled.estimate.se
    if runs == 1:
        within = sum(25 * few[0][25 * h : 25 * h + 25].var(ddof=1) for h in range(4))
        assert fixed.estimate.se == pytest.approx(within**0.5 / 100)


def test_right_or_wrong_items_in_fixed_parts_are_compared_one_by_one() -> None:
    rng = np.random.default_rng(8)
    parts = [f"subject-{i // 10}" for i in range(100)]
    few, everything = ((rng.uniform(size=100) < 0.5).astype(float) for _ in range(2))
    made = pair(tables("acc", [few], [everything], clusters=parts, stratified=True), "acc")
    wins, losses = int((few > everything).sum()), int((few < everything).sum())
    assert made.test(rng).name == "McNemar, exact (items)"
    assert made.test(rng).p == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)


def test_shares_of_other_names_count_as_right_or_wrong_where_all_are() -> None:
    found = tables("my_metric", [HALF], [NONE])
    assert pair(found, "my_metric").test(np.random.default_rng(0)).name == "McNemar, exact (items)"
    assert not tables(SCORE, [ONE], [NONE]).are_shares(Measure("t", SCORE))
    assert not tables("loss", [ONE], [NONE]).are_shares(Measure("t", "loss"))
    assert not tables("acc", [100 * ONE], [NONE]).are_shares(Measure("t", "acc"))
    assert tables("acc", [HALF / 4], [NONE]).are_shares(Measure("t", "acc"))


def test_contributions_have_the_weighted_mean() -> None:
    rng = np.random.default_rng(9)
    items = Items(tuple("abcdef"), rng.uniform(1, 9, size=6), np.array([0, 0, 1, 1, 1, 2]))
    values = rng.normal(size=6)
    mean = float(np.average(values, weights=items.weights))
    assert items.contributions(values).mean() == pytest.approx(mean)
    assert items.unit_values(values).mean() == pytest.approx(mean)


@pytest.mark.parametrize("discordant", [0, 4, 12])
def test_a_detectable_difference_of_checkpoints_is_one_that_can_be(discordant: int) -> None:
    few = np.append(np.ones(discordant), np.zeros(40 - discordant))
    detectable = pair(tables("acc", [few], [NONE]), "acc").detectable(0.05)
    assert detectable is not None
    assert detectable <= max(detectable, stats.beta.ppf(0.8, discordant + 1, 40 - discordant))
    assert 0.1 < detectable < 0.5


def test_a_share_detects_no_more_than_all() -> None:
    rng = np.random.default_rng(10)
    few, everything = ([(rng.uniform(size=10) < share).astype(float) for _ in range(2)] for share in (0.1, 0.9))
    assert pair(tables("acc", few, everything), "acc").detectable(0.05) == 1
