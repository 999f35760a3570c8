"""Units of unequal weight, and runs that all tasks and items of an arm share."""

from itertools import product

import numpy as np

from layersig.analysis.fieller import RatioSet
from layersig.analysis.floors import RATIO_OF_LEVELS
from layersig.analysis.means import mean_items, unit_shares, unit_values
from layersig.analysis.paired import sign_flip_test
from layersig.analysis.results import FloatArray, IntArray
from layersig.analysis.retention import RatioPart, mean_of_ratios, ratio_bootstrap_items, ratio_of_tables
from layersig.analysis.tables import mean_of
from layersig.findings.outcomes import Items
from tests.calibration.report import Study, Table, at_least, at_most, between, percent

_DRAWS = 199
_MORE = 4
"""Times as many experiments for what is cheap: a worst cell of thirty is otherwise mostly Monte Carlo error."""


def weights(reps: int, rng: np.random.Generator) -> Study:
    """Losses weighted by their tokens: the sign-flip test and the interval."""
    rows, flips, held = [], [], []
    for sigma, n in product((0.5, 1.0, 1.5), (20, 48, 100, 300)):
        counts = np.zeros(3)
        names = tuple(map(str, range(n)))
        for number in range(_MORE * reps):
            tokens = np.exp(sigma * rng.standard_normal(n))
            d = rng.standard_t(3, n) if number % 2 else rng.standard_normal(n)
            items = Items(names, tokens, None)
            if number < reps:
                counts[0] += _MORE * (sign_flip_test(items.contributions(d), rng, draws=_DRAWS).p <= 0.05)
            units = items.unit_values(d)
            counts[1] += mean_items(units, items.shares).interval().contains(0.0)
            counts[2] += mean_items(units).interval().contains(0.0)
        rates = (counts / (_MORE * reps)).tolist()
        rows.append((f"{sigma:g}", str(n), *map(percent, rates)))
        flips.append(rates[0])
        held.append(rates[1])
    header = ("spread of log tokens", "items", "sign flip, rejections", "interval, coverage", "without the correction")
    return Study(
        "Losses weighted by tokens",
        "Differences symmetric about 0, normal or from t with 3 degrees of freedom in turn; log-normal numbers of "
        "tokens. The sign flip turns products of weight and difference around; the interval is the bias-reduced one.",
        (Table("weights", "Rejections at nominal 5 % and coverage of nominal 95 % intervals.", header, tuple(rows)),),
        (
            between("sign flip of weighted losses", flips, 0.03, 0.07),
            at_least("interval of a mean of weighted losses", held, 0.93),
        ),
    )


def clusters(reps: int, rng: np.random.Generator) -> Study:
    """A few clusters of unequal size."""
    rows, flips, held, method = [], [], [], []
    for growth, number in product((1.0, 1.5, 2.0), (4, 6, 12)):
        sizes = np.minimum(400, np.ceil(4 * growth ** np.arange(number))).astype(np.int64)
        index = np.repeat(np.arange(number), sizes)
        ones = np.ones(index.size)
        shares = unit_shares(ones, index)
        for bond in (0.0, 1.0):
            counts = np.zeros(4)
            for repetition in range(_MORE * reps):
                values = _clustered(rng, number, index, bond)
                units = unit_values(values, ones, index)
                counts[0] += mean_items(units, shares).interval().contains(0.0)
                counts[1] += mean_items(units).interval().contains(0.0)
                if repetition >= reps:
                    continue
                contributions = np.bincount(index, weights=values) * number / index.size
                counts[2] += _MORE * (sign_flip_test(contributions, rng, draws=_DRAWS).p <= 0.05)
                common = _clustered(rng, number, index, bond)
                runs = [common + 0.3 * rng.standard_normal() + rng.standard_normal(index.size) for _ in range(3)]
                found = mean_of(np.stack([unit_values(run, ones, index) for run in runs]), shares)
                assert found is not None
                counts[3] += _MORE * found.interval().contains(0.0)
            rates = (counts / (_MORE * reps)).tolist()
            rows.append((f"{growth:g}", str(number), f"{bond:g}", *map(percent, rates)))
            held.append(rates[0])
            flips.append(rates[2])
            method.append(rates[3])
    header = (
        "growth of sizes", "clusters", "variance between", "interval", "without the correction",
        "sign flip, rejections", "three runs, two-way",
    )  # fmt: skip
    return Study(
        "A few clusters of unequal size",
        "Sizes grow by the given factor from one cluster to the next (4 to 400 items); a share of the variance lies "
        "between clusters. The sign flip turns totals of clusters around, all patterns of them.",
        (Table("clusters", "Coverage of nominal 95 % intervals and rejections at nominal 5 %.", header, tuple(rows)),),
        (
            at_least("interval over a few unequal clusters", held, 0.93),
            at_least("two-way interval over a few unequal clusters, 3 runs (aim)", method, 0.92),
            at_most("sign flip of a few unequal clusters", flips, 0.07),
        ),
    )


def _clustered(rng: np.random.Generator, number: int, index: IntArray, bond: float) -> FloatArray:
    own = rng.standard_normal(index.size)
    return np.asarray(bond**0.5 * rng.standard_normal(number)[index] + (1 - bond) ** 0.5 * own)


def runs(reps: int, rng: np.random.Generator) -> Study:
    """Probes and shares of the gain where training runs vary as much as items do."""
    rows, probes, few, shares = [], [], [], []
    for seeds, load in product((3, 5, 8), (0.0, 1.0, 3.0)):
        counts = np.zeros(4)
        for _ in range(reps):
            n = 100
            shift = load / n**0.5 * rng.standard_normal((seeds, 1))
            item = rng.standard_normal(n)
            probe = item + shift + rng.standard_normal((seeds, n))
            found = mean_of(probe)
            assert found is not None
            counts[0] += found.interval().contains(0.0)
            counts[1] += mean_items(probe.mean(axis=0)).interval().contains(0.0)
            gain = 1 + item + rng.standard_normal((seeds, n)) + load / n**0.5 * rng.standard_normal((seeds, 1))
            own = 0.8 + 0.5 * item + shift + rng.standard_normal((seeds, n))
            kept: RatioSet = ratio_of_tables(own, gain)
            counts[2] += kept.contains(0.8)
            drawn = ratio_bootstrap_items(own.mean(axis=0), gain.mean(axis=0), rng, draws=99)
            counts[3] += drawn.contains(0.8)
        rates = (counts / reps).tolist()
        rows.append((str(seeds), f"{load:g}", *map(percent, rates)))
        (probes if seeds > 3 else few).append(rates[0])
        shares.append(rates[2])
    header = (
        "runs", "spread of runs, item errors", "probe, two-way", "probe, items only", "share, Fieller two-way",
        "share, bootstrap of items (withdrawn)",
    )  # fmt: skip
    return Study(
        "Probes and shares of the gain over training runs",
        "100 items; runs vary by a multiple of the standard error over items of one run. The share kept is .8 of a "
        "gain of about 7 such errors. With several runs, items drawn again are no interval, and reports show none.",
        (Table("runs", "Coverage of nominal 95 % sets.", header, tuple(rows)),),
        (
            at_least("probes over 5 and 8 runs", probes, 0.93),
            at_least("probes over 3 runs (aim)", few, 0.91),
            at_least("share of the gain over several runs, Fieller", shares, 0.93),
        ),
    )


def classes(reps: int, rng: np.random.Generator) -> Study:
    """Mean retention of a class of tasks, and the gap of two classes, over runs that all tasks share."""
    rows, held, few = [], [], []
    for seeds, (tasks, n), load, arm in product((1, 3, 5, 8), ((2, 40), (4, 200)), (0.0, 2.0), (0.02, 0.5)):
        if (seeds == 1 and load) or (seeds > 1 and not load and arm == 0.5):
            continue
        counts = np.zeros(2)
        bases = np.linspace(0.5, 0.9, tasks)
        for _ in range(reps):
            error = (arm * (1 - arm) / n) ** 0.5
            ability = load * error * np.clip(rng.standard_normal((seeds, 1)), -3, 3)
            parts, truths = [], []
            for base in bases:
                bottom = (rng.random(n) < base).astype(np.float64)
                chance = np.clip(arm * base + ability * base, 0, 1)
                top = (rng.random((seeds, n)) < chance).astype(np.float64)
                parts.append((top, np.tile(bottom, (seeds, 1))))
                truths.append(_kept(arm, load * error, base))
            counts[0] += _holds(parts, [1 / tasks] * tasks, truths)
            half = tasks // 2
            counts[1] += _holds(parts, [1 / half] * half + [-1 / (tasks - half)] * (tasks - half), truths)
        rates = (counts / reps).tolist()
        rows.append((str(seeds), f"{tasks} x {n}", f"{load:g}", percent(arm), *map(percent, rates)))
        (held if seeds != 3 else few).extend(rates)
    header = ("runs", "tasks x items", "spread of runs, item errors", "retention", "class mean", "gap of two halves")
    return Study(
        "Retention of classes of tasks",
        "Tasks on which the untouched model is right on 50 to 90 % of the items; an arm keeps 2 or 50 % of that. "
        "What a run gains or loses it does on every task.",
        (Table("classes", "Coverage of nominal 95 % intervals.", header, tuple(rows)),),
        (
            at_least("class means of retention and their gaps, 1, 5 and 8 runs", held, 0.93),
            at_least("class means of retention and their gaps, 3 runs (aim)", few, 0.91),
        ),
    )


def _kept(arm: float, sd: float, base: float) -> float:
    """Expected retention, with abilities cut so that chances stay between 0 and 1."""
    z = np.linspace(-6, 6, 4001)
    density = np.exp(-z * z / 2)
    chance = np.clip(arm * base + sd * np.clip(z, -3, 3) * base, 0, 1)
    return float(density @ chance / density.sum() / base)


def _holds(parts: list[tuple[FloatArray, FloatArray]], signs: list[float], truths: list[float]) -> bool:
    found = mean_of_ratios(
        [RatioPart(top, bottom, sign, RATIO_OF_LEVELS) for (top, bottom), sign in zip(parts, signs, strict=True)]
    )
    assert found is not None
    return found.interval().contains(sum(sign * truth for sign, truth in zip(signs, truths, strict=True)))
