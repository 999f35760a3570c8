"""Paired tests and intervals of two checkpoints on the same items, or of two methods on the same seeds."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from layersig.analysis.results import Alternative, BoolArray, FloatArray, Interval, PValue, monte_carlo_p

_MOST_EXACT_FLIPS = 16
_CHUNK_CELLS = 20_000_000


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's test of two checkpoints on binary items.

    Attributes:
        only_a: Items that only the first solves.
        only_b: Items that only the second solves.
        p: Exact two-sided p-value.
        mid_p: Two-sided mid-p value: less conservative, not guaranteed.
    """

    only_a: int
    only_b: int
    p: float
    mid_p: float


def mcnemar_items(a: BoolArray, b: BoolArray) -> McNemar:
    """Exact McNemar test with mid-p.

    Args:
        a: Outcomes of the first checkpoint, shape (n,).
        b: Outcomes of the second on the same items.

    Source:
        McNemar 1947; mid-p as in Fagerland, Lydersen and Laake 2013.
    """
    if a.ndim != 1 or a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(
            f"two boolean vectors of equal length are needed, got {a.shape} {a.dtype}, {b.shape} {b.dtype}"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant, smaller = only_a + only_b, min(only_a, only_b)
    if discordant == 0:
        return McNemar(0, 0, 1.0, 1.0)
    law = stats.binom(discordant, 0.5)
    p = min(1.0, 2 * float(law.cdf(smaller)))
    mid_p = 1.0 if only_a == only_b else 2 * float(law.cdf(smaller)) - float(law.pmf(smaller))
    return McNemar(only_a, only_b, p, mid_p)


@dataclass(frozen=True, slots=True)
class PairedShares:
    """Difference of two checkpoints in the share of items that they solve, on the same items.

    Intervals and tests against a margin invert Tango's score statistic, whose error is that of the difference asked
    about, not the observed one: it is not 0 where no item happens to differ. The count is corrected by half an item for
    continuity, so that an error of 5 % is at most 5.5 % on the grid of `docs/calibration.md`, where the uncorrected
    statistic errs up to 8 %. The test of no difference is McNemar's exact one.

    Attributes:
        wins: Items that only the first solves.
        losses: Items that only the second solves.
        items: All items, at least two.

    Source:
        Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design", Statistics in Medicine 17.
    """

    wins: int
    losses: int
    items: int

    @classmethod
    def of(cls, a: BoolArray, b: BoolArray) -> "PairedShares":
        """From the outcomes of both checkpoints, shape (n,) each."""
        found = mcnemar_items(a, b)
        return cls(found.only_a, found.only_b, a.size)

    @property
    def value(self) -> float:
        """First minus second, as a share of the items."""
        return (self.wins - self.losses) / self.items

    @property
    def se(self) -> float:
        """Standard error with one win and one loss added (Bonett and Price 2012): intervals do not rest on it."""
        n = self.items + 2
        return float(np.sqrt(((self.wins + self.losses + 2) / n - ((self.wins - self.losses) / n) ** 2) / n))

    @property
    def df(self) -> float:
        """Infinite: a score statistic has the normal law."""
        return float("inf")

    def interval(self, level: float = 0.95) -> Interval:
        """All differences that the corrected score test keeps at 1 - level, and 0 where McNemar's test keeps it."""
        z = float(stats.norm.ppf((1 + level) / 2))
        low, high = -self.mirrored()._upper(z), self._upper(z)
        if self.p_value() > 1 - level:
            low, high = min(low, 0.0), max(high, 0.0)
        return Interval(low, high, level)

    def p_value(self, null: float = 0.0, alternative: Alternative = Alternative.TWO_SIDED) -> float:
        """P-value of the corrected score test that the true difference is `null`; for 0, McNemar's exact one."""
        if null == 0:
            return self._exact(alternative)
        z = self.score(null)
        match alternative:
            case Alternative.GREATER:
                return float(stats.norm.sf(z))
            case Alternative.LESS:
                return float(stats.norm.cdf(z))
            case Alternative.TWO_SIDED:
                return min(1.0, 2 * float(stats.norm.sf(abs(z))))

    def mirrored(self) -> "PairedShares":
        """Second minus first."""
        return PairedShares(self.losses, self.wins, self.items)

    def score(self, null: float, correction: float = 0.5) -> float:
        """Tango's statistic of the hypothesis that the true difference is `null`; positive where it lies above.

        Args:
            null: Difference, -1 to 1.
            correction: Items by which the observed count is moved towards the expected one; 0 for Tango's own.
        """
        n = self.items
        distance = self.wins - self.losses - n * null
        if abs(distance) <= correction:
            return 0.0
        variance = score_variance(self.wins, self.losses, n, null)
        shrunk = np.sign(distance) * (abs(distance) - correction)
        return float(shrunk / np.sqrt(variance)) if variance > 0 else float(np.sign(distance) * np.inf)

    def _upper(self, z: float) -> float:
        start = min(1.0, self.value + 0.5 / self.items)
        if start >= 1 or self.score(1.0) > -z:
            return 1.0
        return float(optimize.brentq(lambda null: max(-1e6, self.score(null)) + z, start, 1.0, xtol=1e-12))

    def _exact(self, alternative: Alternative) -> float:
        law = stats.binom(self.wins + self.losses, 0.5)
        match alternative:
            case Alternative.GREATER:
                return float(law.sf(self.wins - 1))
            case Alternative.LESS:
                return float(law.cdf(self.wins))
            case Alternative.TWO_SIDED:
                return min(1.0, 2 * float(law.cdf(min(self.wins, self.losses))))


def score_variance(wins: float, losses: float, items: int, null: float) -> float:
    """Variance of wins minus losses where the true difference is `null` and all else is as likely as it can be.

    Source:
        Tango 1998, equation 6: the most likely share of losses solves a quadratic equation.
    """
    b = (2 * items - wins + losses) * null - wins - losses
    c = -losses * null * (1 - null)
    share = (float(np.sqrt(max(0.0, b * b - 8 * items * c))) - b) / (4 * items)
    return items * (2 * share + null * (1 - null))


def sign_flip_test(
    differences: FloatArray,
    rng: np.random.Generator,
    draws: int = 9999,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> PValue:
    """Sign-flip permutation test of a mean of paired differences.

    All 2^m patterns are enumerated when at most 16 differences are not zero, else `draws` patterns are drawn and the
    +1 rule applies. Draws cannot tell a p-value below 1 / (draws + 1) from it, and a family of tests could then never
    reach its corrected level; there Chernoff's upper bound of the exact p-value takes over, which is valid too.
    The unit of the claim is the unit of the vector: items support a claim about two checkpoints, seeds one about two
    methods. With S seeds no p-value is below 2 / 2^S.

    Args:
        differences: Shape (n,).
        rng: Source of randomness, unused when the enumeration is exact.
        draws: Monte Carlo patterns.
        alternative: Direction.

    Returns:
        P-value with the mean difference as statistic.

    Source:
        Chernoff 1952, "A measure of asymptotic efficiency for tests of a hypothesis based on the sum of observations".
    """
    if differences.ndim != 1 or differences.size == 0:
        raise ValueError(f"differences must be a non-empty vector, got shape {differences.shape}")
    mean = float(differences.mean())
    d = differences[differences != 0]
    if d.size == 0:
        return PValue(mean, 1.0, None)
    observed, scale = _directed(np.array([d.sum()]), alternative)[0], float(np.abs(d).sum())
    if d.size <= _MOST_EXACT_FLIPS:
        patterns = (np.arange(2**d.size)[:, None] >> np.arange(d.size)) & 1
        null = _directed((1 - 2 * patterns) @ d, alternative)
        return PValue(mean, float((null >= observed - 1e-12 * scale).mean()), None)
    bound = _chernoff(np.abs(d) / scale, observed / scale, 2 if alternative is Alternative.TWO_SIDED else 1)
    if bound < 1 / (draws + 1):
        return PValue(mean, bound, None)
    return PValue(
        mean, monte_carlo_p(observed / scale, _directed(_flipped_sums(d, rng, draws), alternative) / scale).p, draws
    )


def _chernoff(sizes: FloatArray, observed: float, sides: int) -> float:
    """Upper bound of `sides` times P(sum of signed sizes >= observed): the least of E exp(t sum) exp(-t observed)."""
    if observed <= 0:
        return 1.0

    def exponent(t: float) -> float:
        # log cosh, without overflow
        return float((t * sizes + np.log1p(np.exp(-2 * t * sizes)) - np.log(2)).sum()) - t * observed

    least = optimize.minimize_scalar(exponent, bounds=(0.0, 100.0 / float(sizes.mean())), method="bounded")
    return min(1.0, sides * float(np.exp(least.fun)))


def _directed(sums: FloatArray, alternative: Alternative) -> FloatArray:
    match alternative:
        case Alternative.GREATER:
            return sums
        case Alternative.LESS:
            return -sums
        case Alternative.TWO_SIDED:
            return np.abs(sums)


def _flipped_sums(d: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    chunk = max(1, _CHUNK_CELLS // d.size)
    parts = []
    for start in range(0, draws, chunk):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(chunk, draws - start), d.size), dtype=np.int8)
        parts.append(signs @ d)
    return np.concatenate(parts)
