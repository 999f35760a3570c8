"""Means over seeds x items, both random: the interval that a claim about a method needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layersig.analysis.means import small_sample_df
from layersig.analysis.quantiles import chi2_quantile
from layersig.analysis.results import Estimate, FloatArray, Interval

MIN_SEEDS_FOR_BOOTSTRAP = 5
_CHUNK_CELLS = 20_000_000
_LIMIT = 0.8
"""Confidence that the true mean square of seeds is below the one that degrees of freedom are estimated with."""
_ROUNDING = 1e-20
"""Share of the mean square of items below which that of seeds is rounding error."""


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Sufficient statistics of a seeds x items table.

    Attributes:
        seeds: Number of seeds, S.
        items: Number of items, n.
        mean: Grand mean.
        seed: Mean square of seeds, S - 1 degrees of freedom.
        item: Mean square of items.
        residual: Mean square of the rest, (S - 1) times as many degrees of freedom.
        item_df: Degrees of freedom of the mean square of items; None means n - 1, as with items of equal weight.
    """

    seeds: int
    items: int
    mean: float
    seed: float
    item: float
    residual: float
    item_df: float | None = None

    @property
    def items_df(self) -> float:
        """Degrees of freedom of the mean square of items."""
        return self.items - 1 if self.item_df is None else self.item_df

    @property
    def variances(self) -> tuple[float, float, float]:
        """Unbiased variance components (seed, item, residual); the first two may be negative."""
        return (self.seed - self.residual) / self.items, (self.item - self.residual) / self.seeds, self.residual


def mean_squares(table: FloatArray, shares: FloatArray | None = None) -> MeanSquares:
    """Two-way mean squares of a complete table.

    Args:
        table: Usually paired differences of two arms, shape (seeds >= 2, items >= 2).
        shares: Share of each unit in the weight of all, shape (items,), where the columns are unit values of clusters
            or items of unequal weight: their squares are then corrected as in `means.mean_items`.

    Raises:
        ValueError: The table is smaller than 2 x 2; one run per arm has no seed variance and supports only a claim
            about two checkpoints.
    """
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"a table of shape (seeds >= 2, items >= 2) is needed, got {table.shape}")
    s, n = table.shape
    mean = float(table.mean())
    by_seed, by_item = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    seed_ms = n * float(by_seed @ by_seed) / (s - 1)
    # From the residuals themselves: total - seed - item would cancel when one effect dwarfs the rest.
    residuals = table - mean - by_seed[:, None] - by_item
    if shares is not None:
        loads = 1 / (n * (1 - shares))
        item_ms = s * float(by_item**2 @ loads)
        residual_ms = float((residuals**2).sum(axis=0) @ loads) / (s - 1)
        return MeanSquares(s, n, mean, seed_ms, item_ms, residual_ms, small_sample_df(shares))
    item_ss, residual_ss = s * float(by_item @ by_item), float((residuals**2).sum())
    return MeanSquares(s, n, mean, seed_ms, item_ss / (n - 1), residual_ss / ((s - 1) * (n - 1)))


def two_way_estimate(ms: MeanSquares, conservative: bool = False) -> Estimate:
    """Mean of a seeds x items table with both factors random.

    V = (MS_seed + MS_item - MS_residual) / (S n), referred to t with Satterthwaite's degrees of freedom at the upper
    80 % limit of MS_seed. A few runs that happen to be alike would otherwise give a small V and many degrees of freedom
    at once: with three runs a nominal error of 5 % is then up to 8 %, and one of 0.5 % up to five times as much.

    MS_residual is not subtracted on demand, and whenever the subtraction would leave V <= 0 or less than one degree of
    freedom: the mean squares then all but cancel, V is mostly their noise, and t with a fraction of a degree of freedom
    would stretch an interval of that noise without bound. Without the subtraction V can only grow. With two seeds (or
    two items), and where the runs do not differ at all, nothing tells enough of how much runs vary, and df is
    min(S, n) - 1.

    Args:
        ms: From `mean_squares`.
        conservative: Never subtract MS_residual.

    Source:
        Searle, Casella and McCulloch 1992, chapter 4; Satterthwaite 1946. Deviations (ours): the limit of MS_seed, for
        which Satterthwaite takes the value observed, and the rules of the second paragraph.
    """
    s, n = ms.seeds, ms.items
    kept = [(ms.seed, s - 1), (ms.item, ms.items_df)]
    subtracted = [*kept, (-ms.residual, (s - 1) * ms.items_df)]
    cancels = _total(subtracted) <= 0 or _satterthwaite(subtracted) < 1
    terms = kept if conservative or cancels else subtracted
    if _total(terms) == 0:
        return Estimate(ms.mean, 0.0, s - 1)
    alike = max(ms.seed, ms.residual) <= _ROUNDING * ms.item
    if alike or min(s, n) == 2:
        df = min(s, n) - 1.0
    else:
        limit = ms.seed * (s - 1) / chi2_quantile(1 - _LIMIT, s - 1)
        df = _satterthwaite([(limit, s - 1), *terms[1:]])
    return Estimate(ms.mean, float(np.sqrt(_total(terms) / (s * n))), df)


def two_way_covariance(numerator: FloatArray, denominator: FloatArray, shares: FloatArray | None = None) -> FloatArray:
    """Two-way covariance of the means of two tables over the same seeds and items, shape (2, 2).

    By polarisation of V; without the subtraction of MS_residual, so that the matrix is never indefinite.
    """
    if numerator.shape != denominator.shape:
        raise ValueError(f"tables differ in shape: {numerator.shape} and {denominator.shape}")

    def variance(table: FloatArray) -> float:
        return two_way_estimate(mean_squares(table, shares), conservative=True).se ** 2

    v_n, v_d = variance(numerator), variance(denominator)
    cross = (variance(numerator + denominator) - variance(numerator - denominator)) / 4
    return np.array([[v_n, cross], [cross, v_d]])


def bootstrap_items_and_seeds(
    table: FloatArray, rng: np.random.Generator, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval of the mean, seeds and items drawn with replacement independently of each other.

    A second opinion beside `two_way_estimate`, somewhat too short with few seeds.

    Args:
        table: Shape (seeds >= 5, items).
        rng: Source of randomness.
        draws: Bootstrap samples.
        level: Coverage.

    Raises:
        ValueError: Fewer than five seeds: the bootstrap over seeds then has too few distinct samples.

    Source:
        Owen 2007, "The pigeonhole bootstrap".
    """
    if table.ndim != 2 or table.shape[0] < MIN_SEEDS_FOR_BOOTSTRAP:
        raise ValueError(f"the crossed bootstrap needs a table with at least 5 seeds, got shape {table.shape}")
    s, n = table.shape
    chunk = max(1, _CHUNK_CELLS // n)
    means = []
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        item_weights = rng.multinomial(n, np.full(n, 1 / n), size=size) / n
        seed_weights = rng.multinomial(s, np.full(s, 1 / s), size=size) / s
        means.append((seed_weights * (item_weights @ table.T)).sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _total(terms: Sequence[tuple[float, float]]) -> float:
    """The sum of signed mean squares, given with their degrees of freedom."""
    return sum(value for value, _ in terms)


def _satterthwaite(terms: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of signed mean squares."""
    return _total(terms) ** 2 / sum(value**2 / df for value, df in terms)
