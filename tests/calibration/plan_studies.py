"""Plans made from what one study shows: the detectable difference, and what equivalence takes."""

from functools import cache
from itertools import product

import numpy as np
from scipy import stats

from layersig.analysis.equivalence import (
    items_for_equivalence,
    items_for_equivalence_discordant,
    power_tost,
    seeds_for_equivalence,
)
from layersig.analysis.paired import PairedShares, score_variance
from layersig.analysis.power import detectable_difference_discordant, detectable_of, power_discordant
from layersig.analysis.results import Estimate
from layersig.analysis.twoway import two_way_estimate
from tests.calibration.margins import tost
from tests.calibration.report import Study, Table, at_least, percent
from tests.calibration.simulate import table_mean_squares

_WANTED = 0.8


def detectable_from_pilots(reps: int, rng: np.random.Generator) -> Study:
    """True power at the difference that a study calls detectable from its own error."""
    rows, held = [], []
    for seeds, items, (seed_load, item_load) in product((3, 5, 8), (200,), ((2.0, 2.0), (100.0, 2.0))):
        tables = table_mean_squares(rng, reps, seeds, items, seed_load, item_load, False)
        estimates = [two_way_estimate(ms) for ms in tables]
        value, se, df = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "se", "df"))
        reach = stats.t.ppf(0.975, df) * se
        # A new study finds a difference where its error, added to the difference, leaves the interval around 0.
        short = np.sort(reach - value)
        shown = np.array([detectable_of(each, ms=ms) for each, ms in zip(estimates, tables, strict=True)])
        power = np.searchsorted(short, shown, side="left") / reps
        enough = float((power >= _WANTED - 0.01).mean())
        rows.append(
            (
                "two-way",
                f"{seeds} runs, {items} items; {seed_load:g}, {item_load:g}",
                percent(float(power.mean())),
                percent(float(np.quantile(power, 0.1))),
                percent(enough),
            )
        )
        held.append(enough)
    for n, discordance in product((40, 100, 300), (0.02, 0.1, 0.3)):
        counts = np.arange(n + 1)
        weights = stats.binom.pmf(counts, n, discordance)
        kept = weights > 1e-6
        power = np.array([_power_of_plan(int(x), n, discordance) for x in counts[kept]])
        weight = weights[kept] / weights[kept].sum()
        enough = float(weight[power >= _WANTED - 0.005].sum())
        order = np.argsort(power)
        tenth = float(power[order][np.searchsorted(np.cumsum(weight[order]), 0.1)])
        rows.append(
            (
                "McNemar",
                f"{n} items, {percent(discordance)} differ",
                percent(float(weight @ power)),
                percent(tenth),
                percent(enough),
            )
        )
        held.append(enough)
    return Study(
        "Detectable differences planned from a study",
        "What a study shows as detectable with 80 % power, taken as the truth of a new study of its size. Planned from "
        "the upper 80 % limit of the error, four of five plans should reach the power. Two-way: seed load and item "
        "load as in the other studies. Checkpoints: exact, the discordance being the true one or, where that is less, "
        "the difference.",
        (
            Table(
                "pilots",
                "True power at the detectable difference.",
                ("test", "design", "mean power", "10 % quantile", "plans with 80 % power"),
                tuple(rows),
            ),
        ),
        (at_least("plans of detectable differences that reach 80 % power", held, 0.77),),
    )


@cache
def _power_of_plan(discordant: int, n: int, discordance: float) -> float:
    found = detectable_difference_discordant(discordant, n)
    return 1.0 if found is None else power_discordant(found, max(found, discordance), n)


def equivalence_plans(reps: int, rng: np.random.Generator) -> Study:
    """True power of equivalence of equal arms at the size that a study says it takes."""
    rows, held = [], []
    for n, wanted in product((20, 200), (0.3,)):
        sds = np.sqrt(rng.chisquare(n - 1, reps) / (n - 1))
        plans = [items_for_equivalence(Estimate(0.0, float(sd) / n**0.5, n - 1), n, wanted) or 0 for sd in sds]
        power = np.array([power_tost(0.0, 1.0, plan, wanted) for plan in plans])
        rows.append(_row("t over items", f"{n} items, margin {wanted:g} SD", power, np.full(reps, 1 / reps)))
        held.append(_enough(power, np.full(reps, 1 / reps)))
    for n, discordance, wanted in product((40, 200), (0.02, 0.1, 0.3), (0.02, 0.1)):
        counts = np.arange(n + 1)
        weights = stats.binom.pmf(counts, n, discordance)
        kept = weights > 1e-6
        power = np.array([_equivalent(int(x), n, discordance, wanted) for x in counts[kept]])
        weight = weights[kept] / weights[kept].sum()
        rows.append(
            _row("Tango, right or wrong", f"{n} items, {percent(discordance)} differ, margin {wanted:g}", power, weight)
        )
        held.append(_enough(power, weight))
    for seeds, seed_load in product((3, 8), (10.0,)):
        pilots = table_mean_squares(rng, reps, seeds, 200, seed_load, 0.0, False)
        margin = 3 * (seed_load / 200 / 5) ** 0.5
        plans = [seeds_for_equivalence(ms, margin) or 1000 for ms in pilots]
        known = {plan: _two_way_equivalent(rng, reps, plan, seed_load, margin) for plan in sorted(set(plans))}
        power = np.array([known[plan] for plan in plans])
        weight = np.full(len(plans), 1 / len(plans))
        rows.append(_row("two-way", f"{seeds} runs, 200 items, seed load {seed_load:g}", power, weight))
        held.append(_enough(power, weight))
    return Study(
        "What equivalence takes",
        "Equal arms; the number of items, or of runs, that a study says it takes to find them equivalent with 80 % "
        "power. Planned from the upper 80 % limit of the error, four of five plans should reach it. The number at "
        "which the half-width of an interval equals the margin reaches 25 %.",
        (
            Table(
                "equivalence",
                "True power at the planned size.",
                ("test", "study", "mean power", "10 % quantile", "plans with 80 % power"),
                tuple(rows),
            ),
        ),
        (at_least("plans of equivalence that reach 80 % power", held, 0.78),),
    )


def _row(test: str, design: str, power: np.ndarray, weight: np.ndarray) -> tuple[str, ...]:
    order = np.argsort(power)
    tenth = float(power[order][np.searchsorted(np.cumsum(weight[order]), 0.1)])
    return test, design, percent(float(weight @ power)), percent(tenth), percent(_enough(power, weight))


def _enough(power: np.ndarray, weight: np.ndarray) -> float:
    return float(weight[power >= _WANTED - 0.01].sum())


@cache
def _equivalent(discordant: int, n: int, discordance: float, margin: float) -> float:
    """Power of the score test of equivalence on as many items as planned, wins minus losses taken for normal."""
    plan = items_for_equivalence_discordant(discordant, n, margin)
    assert plan is not None
    if plan <= 100:
        return _enumerated(plan, discordance, margin)
    half = plan * discordance / 2
    room = plan * margin - 0.5 - 1.644854 * score_variance(half, half, plan, margin) ** 0.5
    return float(2 * stats.norm.cdf(room / (plan * discordance) ** 0.5) - 1)


@cache
def _enumerated(n: int, discordance: float, margin: float) -> float:
    total = 0.0
    for m in range(n + 1):
        chance = float(stats.binom.pmf(m, n, discordance))
        if chance > 1e-6:
            laws = stats.binom.pmf(np.arange(m + 1), m, 0.5)
            found = [
                tost(PairedShares(b, m - b, n), margin).established if laws[b] > 1e-6 else False for b in range(m + 1)
            ]
            total += chance * float(laws[np.array(found)].sum())
    return total


def _two_way_equivalent(rng: np.random.Generator, reps: int, seeds: int, seed_load: float, margin: float) -> float:
    tables = table_mean_squares(rng, reps, seeds, 200, seed_load, 0.0, False)
    return sum(tost(two_way_estimate(ms), margin).established for ms in tables) / len(tables)
