"""Claims about arms: intervals over seeds and items, false verdicts, families, ranks."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import stats

from layersig.analysis.paired import mcnemar_items, sign_flip_test
from layersig.analysis.power import detectable_difference, detectable_two_way
from layersig.analysis.results import Alternative, Estimate, monte_carlo_p
from layersig.analysis.retention import ratio_bootstrap_items, ratio_of_tables
from layersig.analysis.twoway import MeanSquares, bootstrap_items_and_seeds, mean_squares, two_way_estimate
from tests.calibration.claim_studies import shifted
from tests.calibration.report import Study, Table, at_least, at_most, between, percent
from tests.calibration.simulate import binary_tables, table_mean_squares

_SEED_LOADS = (0.0, 0.5, 2.0, 10.0, 100.0)
_ITEM_LOADS = (0.0, 0.5, 2.0, 10.0)


def _covers_zero(estimates: Sequence[Estimate]) -> float:
    """Share of 95 % t intervals that hold 0, all at once."""
    value, se, df = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "se", "df"))
    return float((np.abs(value) <= stats.t.ppf(0.975, df) * se).mean())


def _seed_only(ms: MeanSquares) -> Estimate:
    return Estimate(ms.mean, (ms.seed / (ms.seeds * ms.items)) ** 0.5, ms.seeds - 1)


def _item_only(ms: MeanSquares) -> Estimate:
    return Estimate(ms.mean, (ms.item / (ms.seeds * ms.items)) ** 0.5, ms.items - 1)


def two_way_coverage(reps: int, rng: np.random.Generator) -> Study:
    """Coverage of intervals for a mean over seeds and items."""
    rows, worst = [], dict[int, list[float]]()
    for seeds in (3, 5, 8):
        for items in (200, 14_042):
            for heavy in (False, True):
                coverage = np.array(
                    [
                        _coverage_of_all(
                            table_mean_squares(rng, reps if heavy else 5 * reps, seeds, items, *loads, heavy), reps
                        )
                        for loads in product(_SEED_LOADS, _ITEM_LOADS)
                    ]
                )
                lows, means = coverage.min(axis=0), coverage.mean(axis=0)
                cells = [f"{percent(low)} (mean {percent(mean)})" for low, mean in zip(lows, means, strict=True)]
                rows.append((str(seeds), f"{items:,}", "heavy" if heavy else "normal", *cells))
                worst.setdefault(seeds, []).append(float(lows[0]))
    header = ("seeds", "items", "tails", "two-way", "two-way, conservative", "seeds only", "items only")
    return Study(
        "Intervals over seeds and items",
        "Tables of paired differences with residual variance 1, seed variance load/n and item variance load/S, over "
        "the grid "
        f"of seed loads {_SEED_LOADS} and item loads {_ITEM_LOADS}; a cell shows the lowest coverage of the grid and "
        "the "
        "mean. Heavy tails: seed and item effects from t with 3 degrees of freedom. The mean squares are drawn from "
        "their "
        "laws given the effects, which is exact with normal residuals, so that 14,042 items cost no more than 200; "
        "with "
        "normal tails the two-way columns rest on five times as many experiments.",
        (
            Table("two-way", "Coverage of nominal 95 % intervals, lowest (mean).", header, tuple(rows)),
            Table(
                "binary",
                "Coverage with right or wrong answers of two arms of the same method, 200 items, all simulated.",
                ("seeds", "spread of runs (logits)", "two-way", "two-way, conservative"),
                _binary_coverage(reps, rng),
            ),
            _crossed_bootstrap(reps, rng),
        ),
        (
            at_least("two-way interval, 5 and 8 seeds", worst[5] + worst[8], 0.935),
            at_least("two-way interval, 3 seeds (aim)", worst[3], 0.90),
        ),
    )


def _coverage_of_all(tables: list[MeanSquares], reps: int) -> list[float]:
    return [
        _covers_zero([two_way_estimate(ms) for ms in tables]),
        _covers_zero([two_way_estimate(ms, conservative=True) for ms in tables]),
        _covers_zero([_seed_only(ms) for ms in tables[:reps]]),
        _covers_zero([_item_only(ms) for ms in tables[:reps]]),
    ]


def _binary_coverage(reps: int, rng: np.random.Generator) -> tuple[tuple[str, ...], ...]:
    rows = []
    for seeds in (3, 5, 8):
        for run_sd in (0.0, 0.2, 0.6):
            tables = []
            for _ in range(reps):
                a, b = binary_tables(rng, 2, seeds, 200, run_sd)
                tables.append(mean_squares(a - b))
            plain, careful, *_ = _coverage_of_all(tables, reps)
            rows.append((str(seeds), f"{run_sd:g}", percent(plain), percent(careful)))
    return tuple(rows)


def _crossed_bootstrap(reps: int, rng: np.random.Generator) -> Table:
    rows = []
    for seeds in (5, 8):
        for seed_load, item_load in ((0.0, 0.0), (10.0, 0.5)):
            covered = 0
            for _ in range(reps):
                table = (
                    rng.standard_normal((seeds, 200))
                    + np.sqrt(seed_load / 200) * rng.standard_normal((seeds, 1))
                    + np.sqrt(item_load / seeds) * rng.standard_normal(200)
                )
                covered += bootstrap_items_and_seeds(table, rng, draws=199).contains(0.0)
            rows.append((str(seeds), f"{seed_load:g}", f"{item_load:g}", percent(covered / reps)))
    caption = "Coverage of the crossed bootstrap (percentile, 199 draws), 200 items, normal effects."
    return Table("crossed", caption, ("seeds", "seed load", "item load", "coverage"), tuple(rows))


def paired_tests(reps: int, rng: np.random.Generator) -> Study:
    """Tests of two checkpoints on the same items, of methods over seeds, and of matched random arms."""
    counts = dict.fromkeys(("mcnemar", "mid", "flip items", "flip seeds 6", "flip seeds 8", "random"), 0)
    for _ in range(reps):
        difficulty = 2 * rng.standard_normal(200)
        a, b = rng.random((2, 200)) < 1 / (1 + np.exp(difficulty))
        mcnemar = mcnemar_items(a, b)
        counts["mcnemar"] += mcnemar.p <= 0.05
        counts["mid"] += mcnemar.mid_p <= 0.05
        counts["flip items"] += sign_flip_test(rng.standard_t(3, 200), rng, draws=199).p <= 0.05
        for seeds in (6, 8):
            counts[f"flip seeds {seeds}"] += sign_flip_test(rng.standard_t(3, seeds), rng).p <= 0.05
        effects = rng.standard_normal(20)
        counts["random"] += monte_carlo_p(effects[0], effects[1:], Alternative.GREATER).p <= 0.05
    names = ("exact McNemar, 200 items", "McNemar mid-p (not guaranteed)", "sign flip of 200 items, heavy tails",
             "sign flip of 6 seeds", "sign flip of 8 seeds", "arm against 19 matched random arms")  # fmt: skip
    rates = {name: count / reps for name, count in zip(names, counts.values(), strict=True)}
    exact = [rate for name, rate in rates.items() if "mid-p" not in name]
    return Study(
        "Exact and permutation tests of scores",
        "No difference between the arms. Items of mixed difficulty for McNemar; differences from t with 3 degrees of "
        "freedom "
        "elsewhere.",
        (
            Table(
                "paired",
                "Rejections at nominal 5 %.",
                ("test", "rate"),
                tuple((n, percent(r)) for n, r in rates.items()),
            ),
        ),
        (at_most("exact and permutation tests of scores", exact, 0.065),),
    )


def detectable(reps: int, rng: np.random.Generator) -> Study:
    """Power at the differences that the planner calls detectable at 80 %."""
    rows, powers = [], []
    for seeds in (3, 5, 8, 10):
        difference = detectable_difference(1.0, seeds)
        samples = rng.standard_normal((reps, seeds)) + difference
        t = samples.mean(axis=1) / samples.std(axis=1, ddof=1) * seeds**0.5
        powers.append(float((np.abs(t) > stats.t.ppf(0.975, seeds - 1)).mean()))
        rows.append(("t over seeds", str(seeds), "", f"{difference:.2f} SD", percent(powers[-1])))
    for seeds in (3, 5, 8):
        for items in (200, 14_042):
            for seed_load, item_load in ((0.5, 0.5), (2.0, 2.0), (10.0, 0.5), (100.0, 2.0)):
                variances = (seed_load / items, item_load / seeds, 1.0)
                difference = detectable_two_way(variances, seeds, items)
                tables = table_mean_squares(rng, reps, seeds, items, seed_load, item_load, heavy=False)
                found = 1 - _covers_zero([shifted(two_way_estimate(ms), difference) for ms in tables])
                design = f"{items:,}; {seed_load:g}, {item_load:g}"
                rows.append(("two-way", str(seeds), design, f"{difference:.4f}", percent(found)))
                powers.append(found)
    header = ("test", "seeds", "items; seed load, item load", "detectable difference", "power found")
    return Study(
        "Power at the detectable difference",
        "The true difference is the one that the planner calls detectable with 80 % power when the generator's "
        "variances "
        "are declared.",
        (Table("power", "Power of two-sided 5 % tests.", header, tuple(rows)),),
        (between("power at the detectable difference", powers, 0.75, 0.85),),
    )


def ratios(reps: int, rng: np.random.Generator) -> Study:
    """Retention and share of the gain."""
    rows, held = [], []
    for label, gain in (("large gain (10 SE)", 10.0), ("small gain (2 SE)", 2.0), ("no gain", 0.0)):
        covered = np.zeros(3)
        for _ in range(reps):
            base, noise = rng.standard_normal(200), rng.standard_normal((2, 200))
            bottom = gain / 200**0.5 + 0.5 * base + np.sqrt(0.75) * noise[0]
            top = 0.8 * gain / 200**0.5 + 0.5 * base + np.sqrt(0.75) * noise[1]
            covered[0] += ratio_of_tables(top[None], bottom[None]).contains(0.8)
            covered[1] += ratio_bootstrap_items(top, bottom, rng, draws=199).contains(0.8)
            scale = 0.05
            seeds = scale * rng.standard_normal((2, 5, 1))
            lower = gain / 200**0.5 + 0.5 * base + np.sqrt(0.75) * rng.standard_normal((5, 200)) + seeds[0]
            upper = 0.8 * gain / 200**0.5 + 0.5 * base + np.sqrt(0.75) * rng.standard_normal((5, 200)) + seeds[1]
            covered[2] += ratio_of_tables(upper, lower).contains(0.8)
        fieller, bootstrap, two_way = (covered / reps).tolist()
        rows.append((label, percent(fieller), percent(bootstrap), percent(two_way)))
        held += [fieller, two_way]
    header = ("denominator", "Fieller, items", "bootstrap, items", "Fieller, 5 seeds x items")
    return Study(
        "Ratios: retention, share of the gain kept",
        "200 items, true ratio .8 (any ratio is true when there is no gain; .8 is asked for). Fieller sets may be "
        "unbounded.",
        (Table("ratios", "Coverage of nominal 95 % sets.", header, tuple(rows)),),
        (at_least("Fieller sets of ratios", held, 0.935),),
    )
