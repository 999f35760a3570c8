"""Overlap of selected sets: chance laws, Jaccard, Kuncheva's kappa and Nogueira's index.

A *law* is the exact distribution of the overlap of two sets that are drawn independently of each other. It is the
chance level that a figure shows and the yardstick for published overlaps. It is not a test of "same layers": see
``surrogates`` for rankings that are smooth over depth and ``sharing`` for the equivalence claim.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from layersig.analysis.results import BoolArray, Estimate, FloatArray, IntArray, Interval, PValue

MIN_RUNS_FOR_NOGUEIRA_INTERVAL = 20


@dataclass(frozen=True, slots=True, eq=False)
class OverlapLaw:
    """Distribution of the number of shared elements of two random sets.

    Attributes:
        size_a: Elements of the first set.
        size_b: Elements of the second set.
        largest: Largest overlap that the strata allow.
        support: Possible overlaps, ascending, shape (m,).
        pmf: Their probabilities, shape (m,).
    """

    size_a: int
    size_b: int
    largest: int
    support: IntArray
    pmf: FloatArray

    @property
    def mean(self) -> float:
        """Expected overlap."""
        return float(self.support @ self.pmf)

    @property
    def sd(self) -> float:
        """Standard deviation of the overlap."""
        return float(np.sqrt((self.support - self.mean) ** 2 @ self.pmf))

    @property
    def jaccard_mean(self) -> float:
        """Expected Jaccard index; slightly above the Jaccard index of the expected overlap."""
        return float(jaccard_of_overlap(self.support.astype(np.float64), self.size_a, self.size_b) @ self.pmf)

    def quantile(self, probability: float) -> int:
        """Smallest overlap whose distribution function reaches ``probability``."""
        index = int(np.searchsorted(np.cumsum(self.pmf), probability - 1e-12))
        return int(self.support[min(index, self.support.size - 1)])

    def overlap_range(self, level: float = 0.95) -> tuple[int, int]:
        """Central range of the overlap, (low, high)."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def jaccard_range(self, level: float = 0.95) -> tuple[float, float]:
        """Central range of the Jaccard index, (low, high)."""
        low, high = self.overlap_range(level)
        ends = jaccard_of_overlap(np.array([low, high], dtype=np.float64), self.size_a, self.size_b)
        return float(ends[0]), float(ends[1])

    def p_value(self, overlap: float) -> PValue:
        """Exact P(X >= overlap)."""
        return PValue(overlap, min(1.0, float(self.pmf[self.support >= overlap - 1e-9].sum())), None)

    def kappa(self, overlap: float) -> float:
        """Chance-corrected overlap under this law, (x - mean) / (largest - mean).

        For the uniform law and equal sizes this is Kuncheva's index. NaN when the law leaves no freedom.
        """
        room = self.largest - self.mean
        return (overlap - self.mean) / room if room > 1e-12 else float("nan")


def jaccard_of_overlap(overlap: FloatArray, size_a: int | IntArray, size_b: int | IntArray) -> FloatArray:
    """Jaccard index of two sets from the number of elements they share; broadcasts."""
    return np.asarray(overlap / (size_a + size_b - overlap), dtype=np.float64)


def overlap_of_jaccard(jaccard: float, size_a: int, size_b: int) -> float:
    """Number of shared elements that a Jaccard index stands for."""
    return jaccard * (size_a + size_b) / (1 + jaccard)


def uniform_law(n: int, size_a: int, size_b: int) -> OverlapLaw:
    """Law of the overlap of two sets of given sizes, drawn uniformly from ``n`` elements (hypergeometric).

    Raises:
        ValueError: A size is negative or above ``n``.
    """
    if not (0 <= size_a <= n and 0 <= size_b <= n):
        raise ValueError(f"set sizes {size_a} and {size_b} must lie between 0 and n = {n}")
    support = np.arange(max(0, size_a + size_b - n), min(size_a, size_b) + 1, dtype=np.int64)
    pmf = np.asarray(stats.hypergeom.pmf(support, n, size_a, size_b), dtype=np.float64)
    return OverlapLaw(size_a, size_b, min(size_a, size_b), support, pmf / pmf.sum())


def stratified_law(sizes: IntArray, counts_a: IntArray, counts_b: IntArray) -> OverlapLaw:
    """Law of the overlap when the number of selected elements in every stratum is given.

    Strata are module types or depths; within a stratum the draws are uniform and independent, so the law of the total
    is the convolution of hypergeometric laws.

    Args:
        sizes: Elements per stratum, shape (h,).
        counts_a: Selected elements of the first set per stratum, shape (h,).
        counts_b: The same for the second set.

    Raises:
        ValueError: Shapes differ, or a count does not fit its stratum.
    """
    if sizes.ndim != 1 or sizes.shape != counts_a.shape or sizes.shape != counts_b.shape:
        raise ValueError(f"sizes {sizes.shape}, counts_a {counts_a.shape}, counts_b {counts_b.shape} must be equal")
    pmf = np.ones(1)
    start = largest = 0
    for n, a, b in zip(sizes.tolist(), counts_a.tolist(), counts_b.tolist(), strict=True):
        stratum = uniform_law(n, a, b)
        pmf = np.convolve(pmf, stratum.pmf)
        start += int(stratum.support[0])
        largest += stratum.largest
    support = np.arange(start, start + pmf.size, dtype=np.int64)
    return OverlapLaw(int(counts_a.sum()), int(counts_b.sum()), largest, support, pmf / pmf.sum())


def law_given_strata(a: BoolArray, b: BoolArray, strata: IntArray) -> OverlapLaw:
    """Stratified law with the per-stratum counts of two observed sets.

    Args:
        a: First set as a mask, shape (N,).
        b: Second set as a mask, shape (N,).
        strata: Stratum (type or depth) of each element, shape (N,), any integers.
    """
    _check_masks(a, b)
    _, index = np.unique(strata, return_inverse=True)
    return stratified_law(np.bincount(index), np.bincount(index[a], minlength=index.max() + 1),
                          np.bincount(index[b], minlength=index.max() + 1))  # fmt: skip


def jaccard(a: BoolArray, b: BoolArray) -> float:
    """Jaccard index of two masks of shape (N,); NaN when both are empty."""
    _check_masks(a, b)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else float("nan")


def jaccard_test_uniform(a: BoolArray, b: BoolArray) -> PValue:
    """Permutation test of the Jaccard index over uniform relabelling of elements, exact.

    Descriptive only for layers: scores are smooth over depth, so that this test rejects far too often. With both sizes
    fixed the Jaccard index is monotone in the overlap, so the permutation law is the hypergeometric law.
    """
    return PValue(jaccard(a, b), uniform_law(a.size, int(a.sum()), int(b.sum())).p_value(int((a & b).sum())).p, None)


def jaccard_test_within_strata(a: BoolArray, b: BoolArray, strata: IntArray) -> PValue:
    """Permutation test of the Jaccard index with relabelling inside strata (types), exact by convolution.

    Descriptive only for layers, for the same reason as :func:`jaccard_test_uniform`.
    """
    return PValue(jaccard(a, b), law_given_strata(a, b, strata).p_value(int((a & b).sum())).p, None)


def jaccard_bootstrap_runs(
    a: BoolArray, b: BoolArray, rng: np.random.Generator, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval of the mean Jaccard index of a run of one cell with a run of another.

    Runs of ``a`` and of ``b`` are drawn with replacement, independently of each other. Too short with few runs, and it
    ignores seeds that the two cells share. Biased upwards when ``a`` and ``b`` are the same cell: a run then meets
    itself, and overlaps with itself entirely. The test that holds in both cases leaves runs out instead of drawing
    them: ``agreement.agreement_jackknife_runs``.

    Args:
        a: Masks of the first cell, shape (runs >= 2, N).
        b: Masks of the second cell, shape (runs >= 2, N).
        rng: Source of randomness.
        draws: Bootstrap samples.
        level: Coverage.

    Raises:
        ValueError: Fewer than 2 runs in a cell, different N, or a mask that selects nothing.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"masks of shape (runs >= 2, N) with equal N are needed, got {a.shape} and {b.shape}")
    sizes_a, sizes_b = a.sum(axis=1), b.sum(axis=1)
    if not (sizes_a.all() and sizes_b.all()):
        raise ValueError("a run selects nothing; the Jaccard index needs selections that are not empty")
    index = jaccard_of_overlap(a.astype(np.float64) @ b.T.astype(np.float64), sizes_a[:, None], sizes_b)
    weights_a, weights_b = (rng.multinomial(r, np.full(r, 1 / r), size=draws) / r for r in index.shape)
    low, high = np.quantile(((weights_a @ index) * weights_b).sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def kuncheva(overlap: FloatArray, n: int, k: int) -> FloatArray:
    """Kuncheva's consistency index (x n - k^2) / (k (n - k)) of two sets of equal size ``k`` of ``n``.

    0 at chance, 1 for identical sets, negative below chance.

    Raises:
        ValueError: ``k`` is not strictly between 0 and ``n``, where the index has no meaning.

    Source:
        Kuncheva 2007, "A stability index for feature selection".
    """
    if not 0 < k < n:
        raise ValueError(f"kappa needs 0 < k < n, got k = {k}, n = {n}")
    return np.asarray((overlap * n - k * k) / (k * (n - k)), dtype=np.float64)


def descending_ranks(scores: FloatArray) -> IntArray:
    """Rank of every element along the last axis, 0 for the highest score; ties keep their order of index."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(scores.shape[-1]), scores.shape), axis=-1)
    return ranks.astype(np.int64)


def top_k(scores: FloatArray, k: int) -> BoolArray:
    """Mask of the ``k`` highest scores along the last axis; ties are broken by index."""
    return np.asarray(descending_ranks(scores) < k)


def pairwise_kappa(selections: BoolArray) -> FloatArray:
    """Kuncheva's index of every pair of runs.

    Args:
        selections: Masks, shape (runs, N), the same number of selected elements in each.

    Returns:
        Symmetric matrix, shape (runs, runs), ones on the diagonal.

    Raises:
        ValueError: The runs select different numbers of elements.
    """
    sizes = selections.sum(axis=1)
    if selections.ndim != 2 or np.any(sizes != sizes[0]):
        raise ValueError("kappa needs masks of shape (runs, N) with the same number selected in every run")
    z = selections.astype(np.float64)
    return kuncheva(z @ z.T, selections.shape[1], int(sizes[0]))


def kappa_curve(a: FloatArray, b: FloatArray) -> FloatArray:
    """Kuncheva's index of two rankings at every k = 1 .. N-1.

    Args:
        a: Scores, shape (..., N); higher is more important.
        b: Scores of the same shape.

    Returns:
        Curve, shape (..., N-1); entry ``k - 1`` is the index of the two top-k sets.
    """
    if a.shape != b.shape:
        raise ValueError(f"score arrays differ in shape: {a.shape} and {b.shape}")
    n = a.shape[-1]
    later = np.sort(np.maximum(descending_ranks(a), descending_ranks(b)), axis=-1)
    ks = np.arange(1, n)
    shared = (later[..., None, :] < ks[:, None]).sum(axis=-1)
    return np.asarray((shared * n - ks * ks) / (ks * (n - ks)), dtype=np.float64)


def nogueira(selections: BoolArray) -> Estimate:
    """Nogueira's stability index of a set of selections, with its asymptotic standard error.

    At equal set sizes it equals the mean pairwise Kuncheva index. The standard error is asymptotic in the number of
    runs: it is infinite below 20 runs, so that no interval can be drawn from it by mistake.

    Args:
        selections: Masks, shape (runs, N), from independent runs of one cell; sizes may differ.

    Raises:
        ValueError: Fewer than 2 runs, or every run selects nothing, or everything.

    Source:
        Nogueira, Sechidis and Brown 2018, "On the stability of feature selection algorithms", definitions 4 and 7.
        Deviation: runs (runs - 1) in place of runs^2 in the variance, and a t law in place of the normal one.
    """
    if selections.ndim != 2 or selections.shape[0] < 2:
        raise ValueError(f"selections must have shape (runs >= 2, N), got {selections.shape}")
    z = selections.astype(np.float64)
    runs, n = z.shape
    frequency = z.mean(axis=0)
    sizes = z.sum(axis=1)
    mean_size = float(sizes.mean())
    chance = (mean_size / n) * (1 - mean_size / n)
    if chance == 0:
        raise ValueError("the index has no meaning when every run selects nothing, or everything")
    phi = 1 - float((runs / (runs - 1) * frequency * (1 - frequency)).mean()) / chance
    if runs < MIN_RUNS_FOR_NOGUEIRA_INTERVAL:
        return Estimate(phi, float("inf"), float("inf"))
    influence = (
        (z * frequency).mean(axis=1)
        - sizes * mean_size / n**2
        + phi / 2 * (2 * sizes * mean_size / n**2 - sizes / n - mean_size / n + 1)
    ) / chance
    variance = 4 / (runs * (runs - 1)) * float(((influence - influence.mean()) ** 2).sum())
    return Estimate(phi, float(np.sqrt(variance)), runs - 1)


def _check_masks(a: BoolArray, b: BoolArray) -> None:
    if a.ndim != 1 or a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(f"two boolean masks of equal length are needed, got {a.shape} {a.dtype}, {b.shape} {b.dtype}")
