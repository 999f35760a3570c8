"""Where little or nothing varies: levels, pairs and ratios of items that are right or wrong, by enumeration."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy import special

from layersig.analysis import floors
from layersig.analysis.fieller import RatioSet, SetShape
from layersig.analysis.paired import PairedShares
from layersig.analysis.results import FloatArray, IntArray
from layersig.analysis.retention import ratio_of_tables
from layersig.analysis.tables import Floor, mean_of
from layersig.analysis.verdicts import verdict_of
from tests.calibration.margins import non_inferiority, superiority_by, tost
from tests.calibration.report import Study, Table, at_least, at_most, percent

_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
_LOSSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
_EXTRAS = (0.0, 0.01, 0.03, 0.1, 0.3)
_RARE = 1e-8
_DIFFICULTY = 2.0


def levels(_reps: int, _rng: np.random.Generator) -> Study:
    """Coverage of the interval of one arm's share of right items."""
    rows, held = [], []
    for n in (5, 10, 20, 40, 48, 100, 200, 300, 1000):
        ends = [_level(right, n) for right in range(n + 1)]
        cover = [_covered(_binomial(n, share), ends, share) for share in _SHARES]
        wald = [_covered(_binomial(n, share), [_wald(right, n) for right in range(n + 1)], share) for share in _SHARES]
        wilson = [_covered(_binomial(n, share), [_wilson(x, n) for x in range(n + 1)], share) for share in _SHARES]
        rows.append((f"{n:,}", *(_lowest(c) for c in (cover, wilson, wald))))
        held += cover
    header = ("items", "Agresti-Coull (used)", "Wilson", "mean and its standard error")
    return Study(
        "Share of right items of one arm",
        f"True shares {_SHARES}, by enumeration of every count. A cell shows the lowest coverage and the mean.",
        (Table("levels", "Coverage of nominal 95 % intervals, exact, lowest (mean).", header, tuple(rows)),),
        (at_least("interval of a share of right items", held, 0.93),),
    )


def _lowest(rates: Sequence[float]) -> str:
    return f"{percent(min(rates))} (mean {percent(float(np.mean(rates)))})"


def _level(right: int, n: int) -> tuple[float, float]:
    found = mean_of((np.arange(n) < right).astype(np.float64)[None], floor=Floor.LEVEL)
    assert found is not None
    interval = found.interval()
    return interval.low, interval.high


def _wald(right: int, n: int) -> tuple[float, float]:
    share = right / n
    half = 1.96 * (share * (1 - share) / max(1, n - 1)) ** 0.5
    return share - half, share + half


def _wilson(right: int, n: int) -> tuple[float, float]:
    centre = (right + 1.92) / (n + 3.84)
    half = 1.96 / (n + 3.84) * (right * (n - right) / n + 0.96) ** 0.5
    return centre - half, centre + half


def _binomial(n: int, share: float) -> FloatArray:
    x = np.arange(n + 1)
    choose = special.gammaln(n + 1) - special.gammaln(x + 1) - special.gammaln(n - x + 1)
    return np.asarray(np.exp(choose + special.xlogy(x, share) + special.xlog1py(n - x, -share)))


def _covered(weights: FloatArray, ends: Sequence[tuple[float, float]], truth: float) -> float:
    inside = np.array([low <= truth + 1e-12 and truth - 1e-12 <= high for low, high in ends])
    return float(weights[inside].sum())


def pairs(_reps: int, _rng: np.random.Generator) -> Study:
    """Coverage and errors of the comparison of two checkpoints on right or wrong items."""
    rows: list[tuple[str, ...]] = []
    cover_all: list[float] = []
    wrong_all: list[float] = []
    direction: list[float] = []
    for n in (5, 10, 20, 40, 100, 300):
        cover, wrong, equivalent, superior, better = [], [], [], [], []
        for loss, extra in product(_LOSSES, _EXTRAS):
            wins, losses = extra / 2, extra / 2 + loss
            if wins + losses > 1:
                continue
            counts, weights = _tables(n, wins, losses)
            found = [PairedShares(int(b), int(c), n) for b, c in counts]
            if loss == 0:
                said = [verdict_of(each, 0.01, p=each.p_value())[0] for each in found]
                better.append(_rate(weights, (v.value.startswith(("better", "worse")) for v in said)))
            cover.append(_rate(weights, (_keeps(each, -loss) for each in found)))
            if loss > 0:
                wrong.append(_rate(weights, (non_inferiority(each, loss).established for each in found)))
                equivalent.append(_rate(weights, (tost(each, loss).established for each in found)))
                superior.append(_rate(weights, (superiority_by(each.mirrored(), loss).established for each in found)))
        shown = (percent(max(each)) for each in (wrong, equivalent, superior, better))
        rows.append((f"{n:,}", _lowest(cover), *shown))
        cover_all, wrong_all, direction = (
            cover_all + cover,
            wrong_all + wrong + equivalent + superior,
            direction + better,
        )
    header = ("items", "coverage, lowest (mean)", "not worse", "equivalent", "better by the margin", "better or worse")
    return Study(
        "Two checkpoints on right or wrong items",
        f"Share of items lost {_LOSSES}, with further items that differ by chance {_EXTRAS} (half won, half lost), by "
        "enumeration of every table of counts. The margin equals the true loss, so that every claim against it is "
        "wrong; better or worse is wrong where nothing is lost. Intervals and claims by Tango's score test with a "
        "correction for continuity, better and worse by the exact McNemar test too.",
        (
            Table(
                "pairs",
                "Coverage of nominal 95 % intervals and wrong claims at nominal 5 %, exact.",
                header,
                tuple(rows),
            ),
        ),
        (
            at_least("interval of a paired difference of right or wrong items", cover_all, 0.93),
            at_most("claims against a margin, right or wrong items", wrong_all, 0.07),
            at_most("better or worse, right or wrong items", direction, 0.05),
        ),
    )


def _keeps(found: PairedShares, truth: float) -> bool:
    """Whether the 95 % interval holds the truth, by the test that it inverts."""
    return abs(found.score(truth)) <= 1.959964 or (truth == 0 and found.p_value() > 0.05)


def _tables(n: int, wins: float, losses: float) -> tuple[IntArray, FloatArray]:
    """Every table of (wins, losses) that is not all but impossible, shape (tables, 2), with its probability."""
    b, c = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    kept = b + c <= n
    b, c = b[kept], c[kept]
    rest = n - b - c
    logs = special.gammaln(n + 1) - special.gammaln(b + 1) - special.gammaln(c + 1) - special.gammaln(rest + 1)
    logs += special.xlogy(b, wins) + special.xlogy(c, losses) + special.xlogy(rest, 1 - wins - losses)
    weights = np.exp(logs)
    likely = weights > _RARE
    return np.stack([b[likely], c[likely]], axis=1), np.asarray(weights[likely])


def _rate(weights: FloatArray, said: Iterator[bool]) -> float:
    return float(weights[np.fromiter(said, dtype=np.bool_, count=weights.size)].sum())


def ratios_at_the_edge(reps: int, rng: np.random.Generator) -> Study:
    """Retention where an arm or the untouched model scores near 0 or 1, and share of a gain of few items."""
    rows: list[tuple[str, ...]] = []
    held: list[float] = []
    widths: list[float] = []
    for n, runs in ((10, 1), (40, 1), (100, 1), (300, 1), (40, 3), (100, 3)):
        bases, arms = (
            ((0.1, 0.3, 0.6, 0.95, 1.0), (0.01, 0.02, 0.1, 0.3, 0.95)) if runs == 1 else ((0.3, 1.0), (0.01, 0.1))
        )
        kept = [
            _retention(rng, reps, n, runs, base, arm, tie, widths)
            for base, arm, tie in product(bases, arms, (0.0, 1.0))
            if arm <= base
        ]
        shares = (0.0, 0.5, 1.0) if runs == 1 else (0.0, 1.0)
        gains = [
            _gain(rng, reps, n, runs, gain, share, noise, widths)
            for gain, share, noise in product((0.1, 0.3), shares, (0.0, 0.02))
        ]
        shown = (_lowest(c) for c in (kept, gains))
        rows.append((f"{n:,}", str(runs), *shown))
        held += kept + gains
    header = ("items", "runs", "retention", "share of the gain")
    return Study(
        "Retention and share of the gain at the edge",
        "Untouched model 10 to 100 % right, an arm 1 to 95 % right, independent of it or right only where it is right; "
        "gains of 10 and 30 points of which an arm keeps none, half or all, without and with 2 % of items changed by "
        "chance. Three runs answer with noise of their own. No set is shown where the denominator is 0.",
        (Table("edge-ratios", "Coverage of nominal 95 % sets, lowest (mean).", header, tuple(rows)),),
        (
            at_least("sets of ratios of right or wrong items", held, 0.93),
            at_most("sets of a ratio of no width", [sum(width <= 0 for width in widths) / len(widths)], 0.0),
        ),
    )


def _retention(
    rng: np.random.Generator, reps: int, n: int, runs: int, base: float, arm: float, tie: float, widths: list[float]
) -> float:
    """Coverage of the retention of an arm that is right independently of the base, or only where the base is."""
    both = arm * (tie + (1 - tie) * base)
    if runs == 1:
        chances = np.array([1 - arm - base + both, base - both, arm - both, both])
        kinds = floors.RATIO_OF_LEVELS
        return _of_counts(rng, reps, n, np.maximum(0, chances), kinds, kinds, arm / base, widths)
    covered = 0
    for _ in range(reps):
        bottom = rng.random(n) < base
        chance = np.where(bottom, both / base, (arm - both) / (1 - base) if base < 1 else 0.0)
        top = (rng.random((runs, n)) < chance).astype(np.float64)
        bottoms = np.tile(bottom.astype(np.float64), (runs, 1))
        if not bottoms.any():  # no ratio is shown
            covered += 1
            continue
        found = ratio_of_tables(top, bottoms, added=floors.RATIO_OF_LEVELS)
        widths.append(_width(found))
        covered += found.contains(arm / base)
    return covered / reps


def _gain(
    rng: np.random.Generator, reps: int, n: int, runs: int, gain: float, share: float, noise: float, widths: list[float]
) -> float:
    """Coverage of the share of a gain: all layers add ``gain`` to 30 % right items, an arm ``share`` of these."""
    base_arm_all = np.array(list(product((0, 1), repeat=3)), dtype=np.float64)
    clean = {(0, 0, 0): 0.7 - gain, (0, 0, 1): gain * (1 - share), (0, 1, 1): gain * share, (1, 1, 1): 0.3}
    chances = np.zeros(8)
    for kind, weight in clean.items():
        flips = np.abs(base_arm_all - kind)
        ways = np.where(flips[:, 1:] == 1, noise, 1 - noise).prod(axis=1) * (flips[:, 0] == 0)
        chances += weight * ways
    differences = np.stack([base_arm_all[:, 1] - base_arm_all[:, 0], base_arm_all[:, 2] - base_arm_all[:, 0]])
    top, bottom = differences @ chances
    if runs == 1:
        return _of_counts(rng, reps, n, chances, differences, floors.RATIO_OF_DIFFERENCES, top / bottom, widths)
    covered = 0
    for _ in range(reps):
        drawn = differences[:, rng.choice(8, size=(runs, n), p=chances)]
        if drawn[1].mean() == 0:  # no ratio is shown
            covered += 1
            continue
        found = ratio_of_tables(drawn[0], drawn[1], added=floors.RATIO_OF_DIFFERENCES)
        widths.append(_width(found))
        covered += found.contains(top / bottom)
    return covered / reps


def _of_counts(
    rng: np.random.Generator,
    reps: int,
    n: int,
    chances: FloatArray,
    kinds: FloatArray,
    added: FloatArray,
    truth: float,
    widths: list[float],
) -> float:
    """Coverage over samples of n items of so many kinds, each kind a (numerator, denominator)."""
    drawn, counts = np.unique(rng.multinomial(n, chances / chances.sum(), size=reps), axis=0, return_counts=True)
    covered = 0
    for sample, times in zip(drawn, counts.tolist(), strict=True):
        top, bottom = np.repeat(kinds, sample, axis=1)
        if bottom.mean() == 0:  # no ratio is shown
            covered += times
            continue
        found = ratio_of_tables(top[None], bottom[None], added=added)
        widths.append(_width(found))
        covered += times * found.contains(truth)
    return covered / reps


def _width(found: RatioSet) -> float:
    return found.high - found.low if found.shape is SetShape.INTERVAL else float("inf")


def methods(reps: int, rng: np.random.Generator) -> Study:
    """Several runs on right or wrong items, near 0 and 1: values of arms, differences, false verdicts."""
    rows, held, wrong = [], [], []
    for runs in (2, 3, 5, 8):
        for n in (5, 40, 200) if runs == 2 else (40, 200):
            value, difference, false = [], [], []
            for logit, spread in product((-3.5, 3.0, 4.6), (0.0, 0.4)):
                found = _method_cell(rng, reps, runs, n, logit, spread)
                for store, rate in zip((value, difference, false), found, strict=True):
                    store.append(rate)
            rows.append(
                (
                    str(runs),
                    str(n),
                    *(_lowest(c) for c in (value, difference)),
                    percent(max(false)),
                )
            )
            held += value + difference
            wrong += false
    header = ("runs", "items", "value", "difference", "better or worse")
    return Study(
        "Methods on right or wrong items, near 0 and 1",
        "Arms that are the same method, answering items of mixed difficulty (logits of mean -3.5, 3 or 4.6 and "
        "standard deviation 2), with runs that do not differ or differ by .4 logits. The truth of a value is "
        "its mean over runs and items.",
        (Table("method-edges", "Coverage of 95 % intervals, lowest (mean), and false verdicts.", header, tuple(rows)),),
        (
            at_least("two-way intervals of right or wrong items", held, 0.93),
            at_most("false better or worse of methods near 0 and 1", wrong, 0.07),
        ),
    )


def _method_cell(
    rng: np.random.Generator, reps: int, runs: int, n: int, logit: float, spread: float
) -> tuple[float, float, float]:
    """Coverage of an arm's value, of a difference, and the rate of false verdicts."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    truth = float(weights @ special.expit(logit + nodes * (spread**2 + _DIFFICULTY**2) ** 0.5) / weights.sum())
    kept = np.zeros(3)
    for _ in range(reps):
        difficulty = _DIFFICULTY * rng.standard_normal(n)
        ability = spread * rng.standard_normal((2, runs, 1))
        tables = (rng.random((2, runs, n)) < special.expit(logit + difficulty + ability)).astype(np.float64)
        level, found = mean_of(tables[0], floor=Floor.LEVEL), mean_of(tables[0] - tables[1], floor=Floor.DIFFERENCE)
        assert level is not None
        assert found is not None
        kept[0] += level.interval().contains(truth)
        covers = found.interval().contains(0.0)
        kept[1] += covers
        kept[2] += not covers
    return float(kept[0] / reps), float(kept[1] / reps), float(kept[2] / reps)
