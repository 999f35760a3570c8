"""The share of the gain that arms keep, and what plans call detectable, in the shapes that shipped recipes have."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

from layersig.analysis import floors
from layersig.analysis.as_good import preserved
from layersig.analysis.paired import PairedShares
from layersig.analysis.results import Alternative, Estimate, FloatArray
from layersig.analysis.tables import mean_of
from layersig.analysis.twoway import two_way_estimate
from layersig.findings.outcomes import Measure
from layersig.planning.assumptions import SPREADS
from layersig.planning.precision import POWER, detectable, exceeded
from tests.calibration.report import Study, Table, at_most, between, percent
from tests.calibration.simulate import table_mean_squares
from tests.planning.heads import RECIPES, facts_of

_LEVEL, _REQUIRED = 0.05, 0.9
_SPREAD = tuple(SPREADS[f"loss.{each}"] for each in ("seed", "item", "residual"))
_TASKS = ((1, 40), (1, 1319), (3, 200), (3, 1319), (3, 14_042))
"""Runs and items of tasks: those of small recipes, of GSM8K and of MMLU."""
_LOSS_GAINS, _SHARE_GAINS = (0.05, 0.2), (0.05, 0.2)
_LOSS, _SHARE = Measure("heldout", "loss"), Measure("task", "acc")


def share_of_gain(reps: int, rng: np.random.Generator) -> Study:
    """Level of the test that an arm keeps 90 % of the gain, and its power for an arm that equals all layers."""
    rows, levels, planned = [], list[float](), list[float]()
    for seeds, items in shapes():
        levels.append(_kept(_losses(reps, rng, seeds, items, 0.2, 0.9)))
        powers = [_kept(_losses(reps, rng, seeds, items, gain, 1.0)) for gain in _LOSS_GAINS]
        least = _least_gain(seeds, items)
        planned.append(_kept(_losses(reps, rng, seeds, items, least, 1.0)))
        shown = (*map(percent, (levels[-1], *powers)), f"{least:.2g} nats", percent(planned[-1]))
        rows.append(("held-out loss", str(seeds), f"{items:,}", *shown))
    for seeds, items in _TASKS:
        levels.append(_kept_shares(reps, rng, seeds, items, 0.2, 0.9))
        powers = [_kept_shares(reps, rng, seeds, items, gain, 1.0) for gain in _SHARE_GAINS]
        rows.append(("right or wrong", str(seeds), f"{items:,}", *map(percent, (levels[-1], *powers)), "", ""))
    reached = [f"S = {row[1]}, n = {row[2]} ({row[0]})" for row in rows if float(row[5].split()[0]) >= 100 * POWER]
    return Study(
        "The share of the gain that an arm keeps",
        "The claim that an arm keeps at least 90 % of the gain of all layers, tested one-sided at 5 % on arm - base - "
        "0.9 (all - base), for runs S and items n that shipped recipes have. Level: the arm keeps exactly 90 % of a "
        "gain of 0.2 (nats, or of 20 points). Power: the arm equals all layers, which gain 0.05 or 0.2. With one run, "
        "the truth is that of these checkpoints. Differences of losses vary as a plan assumes without a pilot; right "
        "and wrong items differ in difficulty, and every run answers with noise of its own. Last columns: the gain "
        "that a plan says an equal arm needs, and the power found there. With a gain of 0.2, 80 % power is reached by "
        f"{'; '.join(reached) or 'none'}. The other designs most often end with \"cannot tell\", and `layersig plan` "
        "says so before they are run.",
        (
            Table(
                "gain-kept",
                "How often an arm is found to keep 90 % of the gain.",
                (
                    "outcome", "S", "n", "at a true share of 0.9", "equal arm, gain 0.05", "equal arm, gain 0.2",
                    "gain that the plan asks for", "power there",
                ),
                tuple(rows),
            ),
        ),
        (
            at_most("share of the gain: level at a true share of 0.9", levels, 0.065),
            between("share of the gain: power at the gain that a plan asks for", planned, 0.75, 0.85),
        ),
    )  # fmt: skip


def planned_differences(reps: int, rng: np.random.Generator) -> Study:
    """Detectable differences of plans beside those that simulated studies find with 80 % power."""
    rows, ratios = [], []
    for seeds in (2, 3, 5, 8):
        for items in (40, 200, 14_042):
            for loads in ((0.0, 0.0), (0.5, 0.5), (10.0, 0.5), (100.0, 2.0)):
                for level in (_LEVEL, _LEVEL / 6):
                    variances = (loads[0] / items, loads[1] / seeds, 1.0)
                    plan = detectable(_LOSS, seeds, items, variances, level)
                    design = f"{seeds} runs, {items:,} items; {loads[0]:g}, {loads[1]:g}"
                    found = _two_way_found(reps, rng, seeds, items, loads, level)
                    rows.append(("two-way", design, level, plan, found))
    for items in (40, 520):
        for level in (_LEVEL, _LEVEL / 6):
            plan = detectable(_LOSS, 1, items, (0.0, 0.4, 0.6), level)
            rows.append(("t over items", f"{items} items", level, plan, _items_found(reps, rng, items, level)))
    for items, discordance in ((100, 0.3), (400, 0.1), (1319, 0.1)):
        for level in (_LEVEL, _LEVEL / 6):
            plan = detectable(_SHARE, 1, items, (0.0, 0.0, discordance), level)
            found = _pairs_found(reps, rng, items, discordance, level)
            rows.append(("McNemar", f"{items:,} items, {percent(discordance)} differ", level, plan, found))
    shown = []
    for test, design, level, plan, found in rows:
        assert plan is not None
        ratios.append(plan / found)
        shown.append((test, design, percent(level), f"{plan:.4g}", f"{found:.4g}", f"{ratios[-1]:.2f}"))
    return Study(
        "Detectable differences of plans",
        "The difference that `layersig plan` calls detectable with 80 % power where the spread is stated, and the one "
        "that simulated studies find in four of five cases, at the level of a single declared comparison and of one "
        "of six. Residual variance 1; seed load and item load as in the other studies.",
        (
            Table(
                "planned",
                "Planned and found.",
                ("test", "design", "level", "planned", "found", "ratio"),
                tuple(shown),
            ),
        ),
        (between("detectable difference of a plan, over the one found", ratios, 0.85, 1.15),),
    )


@cache
def shapes() -> tuple[tuple[int, int], ...]:
    """Runs and held-out conversations of shipped recipes that compare arms, as far as their heads tell."""
    found = set()
    for path in RECIPES:
        facts = facts_of(path)
        for data in facts.recipe.data if facts.recipe.arms else ():
            items = facts.rows(data.name, "heldout")
            if items is not None and items > 1:
                found.add((len(facts.recipe.seeds), items))
    return tuple(sorted(found))


def _spread_table(rng: np.random.Generator, seeds: int, items: int) -> FloatArray:
    """Differences of losses; with one run of each arm, the effect of the run is part of the truth."""
    seed, item, residual = _SPREAD
    seed = seed if seeds > 1 else 0.0
    table = seed * rng.standard_normal((seeds, 1)) + item * rng.standard_normal(items)
    return np.asarray(table + residual * rng.standard_normal((seeds, items)))


def _losses(
    reps: int, rng: np.random.Generator, seeds: int, items: int, gain: float, share: float
) -> Sequence[FloatArray]:
    """Tables of what an arm keeps beyond the share that is asked for; it truly keeps ``share`` of the gain."""
    found = []
    for _ in range(reps):
        everything = gain + _spread_table(rng, seeds, items)
        arm = share * everything + _spread_table(rng, seeds, items)
        found.append(preserved(arm, everything, _REQUIRED, solved=False))
    return found


def _kept(tables: Sequence[FloatArray]) -> float:
    estimates = [mean_of(table) for table in tables]
    return float(np.mean([each is not None and _rejects(each) for each in estimates]))


def _rejects(estimate: Estimate) -> bool:
    return bool(estimate.p_value(alternative=Alternative.GREATER) <= _LEVEL)


def _kept_shares(reps: int, rng: np.random.Generator, seeds: int, items: int, gain: float, share: float) -> float:
    """How often an arm of right and wrong answers is found to keep the share that is asked for."""
    found = 0
    for _ in range(reps):
        base_chance = 1 / (1 + np.exp(2 * rng.standard_normal(items)))
        # The gain lifts every item by the same share of the way to certainty.
        lifted = base_chance + 2 * gain * (1 - base_chance)
        chances = (base_chance, lifted, base_chance + share * (lifted - base_chance))
        base = (rng.random(items) < chances[0]).astype(np.float64)
        everything, arm = ((rng.random((seeds, items)) < chance).astype(np.float64) - base for chance in chances[1:])
        kept = mean_of(
            preserved(arm, everything, _REQUIRED, solved=True),
            floors.with_shares(None, floors.RATIO_OF_DIFFERENCES.shape[1]),
        )
        found += kept is not None and _rejects(kept)
    return found / reps


def _least_gain(seeds: int, items: int) -> float:
    """The gain at which a plan gives an equal arm 80 % power."""
    seed, item, residual = ((1 + (1 - _REQUIRED) ** 2) * each**2 for each in _SPREAD)
    return exceeded(seeds, items, (seed, item, residual), _LEVEL) / (1 - _REQUIRED)


def _two_way_found(
    reps: int, rng: np.random.Generator, seeds: int, items: int, loads: tuple[float, float], level: float
) -> float:
    """The difference with which four of five studies leave the interval around 0."""
    estimates = [two_way_estimate(ms) for ms in table_mean_squares(rng, reps, seeds, items, *loads, False)]
    value, se, df = (np.array([getattr(each, name) for each in estimates]) for name in ("value", "se", "df"))
    return float(np.quantile(stats.t.isf(level / 2, df) * se - value, POWER))


def _items_found(reps: int, rng: np.random.Generator, items: int, level: float) -> float:
    tables = rng.standard_normal((reps, items))
    reach = stats.t.isf(level / 2, items - 1) * tables.std(axis=1, ddof=1) / items**0.5
    return float(np.quantile(reach - tables.mean(axis=1), POWER))


def _pairs_found(reps: int, rng: np.random.Generator, items: int, discordance: float, level: float) -> float:
    """The difference that McNemar's exact test finds in four of five samples, by bisection on the same samples."""
    differs, wins = rng.random((2, reps))

    def power(difference: float) -> float:
        share = max(discordance, difference)
        differing = stats.binom.ppf(differs, items, share)
        won = stats.binom.ppf(wins, differing, (1 + difference / share) / 2)
        pairs = zip(won.astype(int).tolist(), differing.astype(int).tolist(), strict=True)
        return float(np.mean([_found(win, count - win, items) <= level for win, count in pairs]))

    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


@cache
def _found(won: int, lost: int, items: int) -> float:
    return PairedShares(won, lost, items).p_value()
