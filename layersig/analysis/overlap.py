"""Overlap of selected sets: chance laws, Jaccard, Kuncheva's kappa and Nogueira's index.

A *law* is the exact distribution of the overlap of two sets that are drawn independently of each other. It is the
chance level that a figure shows and the yardstick for published overlaps. It is not a test of "same layers": see
`surrogates` for rankings that are smooth over depth and `sharing` for the equivalence claim.

Equal scores carry no information about which of them belongs in the top k. Agreement is therefore the expectation
over random tie-breaking, independent for every ranking, in place of any fixed rule: rankings that were to break ties by
the same rule would agree by construction.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from layersig.analysis.results import BoolArray, FloatArray, IntArray, PValue
from layersig.analysis.selections import descending_ranks, membership, random_top_k

_TIE_BREAKS = 20


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
        """Smallest overlap whose distribution function reaches `probability`."""
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

    def two_sided_p(self, overlap: float) -> float:
        """Twice the smaller of P(X >= overlap) and P(X <= overlap), at most 1."""
        below = float(self.pmf[self.support <= overlap + 1e-9].sum())
        return min(1.0, 2 * min(below, self.p_value(overlap).p))

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
    """Law of the overlap of two sets of given sizes, drawn uniformly from `n` elements (hypergeometric).

    Raises:
        ValueError: A size is negative or above `n`.
    """
    if not (0 <= size_a <= n and 0 <= size_b <= n):
        raise ValueError(f"set sizes {size_a} and {size_b} must lie between 0 and n = {n}")
    return _uniform_law(int(n), int(size_a), int(size_b))


@lru_cache(maxsize=1 << 14)  # a study of hundreds of rankings asks for the same few laws, a million times
def _uniform_law(n: int, size_a: int, size_b: int) -> OverlapLaw:
    support = np.arange(max(0, size_a + size_b - n), min(size_a, size_b) + 1, dtype=np.int64)
    pmf = np.ones(1)
    if support.size > 1:
        pmf = np.asarray(stats.hypergeom.pmf(support, n, size_a, size_b), dtype=np.float64)
        pmf /= pmf.sum()
    support.flags.writeable = pmf.flags.writeable = False  # all who ask for this law share them
    return OverlapLaw(size_a, size_b, min(size_a, size_b), support, pmf)


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


def relabelling_tests(
    a: FloatArray, b: FloatArray, k: int, strata: IntArray, rng: np.random.Generator
) -> tuple[float, float]:
    """Permutation tests of the overlap of two top-k sets: elements relabelled freely, and inside strata.

    With both sizes fixed the Jaccard index is monotone in the overlap, so the permutation laws are the hypergeometric
    law and its convolution over strata: exact, and two-sided, since an overlap may be below chance. Where a tie
    straddles the boundary, the p-values are averaged over 20 random ways to break it, which makes them conservative.

    Descriptive only for layers: scores are smooth over depth, so that both tests reject far too often.

    Args:
        a: Scores of the first ranking, shape (N,).
        b: Scores of the second ranking, shape (N,).
        k: Size of the sets, 0 < k < N.
        strata: Stratum (module type) of each element, shape (N,), any integers.
        rng: Source of randomness; unused without ties at the boundary.

    Returns:
        The two-sided p-values (free, inside strata).
    """
    tied = any(ordered[-k] == ordered[-k - 1] for ordered in (np.sort(a), np.sort(b)))
    found = []
    for _ in range(_TIE_BREAKS if tied else 1):
        first, second = (random_top_k(scores, k, rng) for scores in (a, b))
        shared = int((first & second).sum())
        laws = uniform_law(a.size, k, k), law_given_strata(first, second, strata)
        found.append([law.two_sided_p(shared) for law in laws])
    free, inside = np.mean(found, axis=0).tolist()
    return free, inside


def kuncheva(overlap: FloatArray, n: int, k: int) -> FloatArray:
    """Kuncheva's consistency index (x n - k^2) / (k (n - k)) of two sets of equal size `k` of `n`.

    0 at chance, 1 for identical sets, negative below chance.

    Raises:
        ValueError: `k` is not strictly between 0 and `n`, where the index has no meaning.

    Source:
        Kuncheva 2007, "A stability index for feature selection".
    """
    if not 0 < k < n:
        raise ValueError(f"kappa needs 0 < k < n, got k = {k}, n = {n}")
    return np.asarray((overlap * n - k * k) / (k * (n - k)), dtype=np.float64)


def pairwise_kappa(selections: BoolArray | FloatArray) -> FloatArray:
    """Kuncheva's index of every pair of runs.

    Args:
        selections: Masks, or memberships (see `membership`), shape (runs, N), of the same size in every run.

    Returns:
        Symmetric matrix, shape (runs, runs); of memberships, the expectation over independent tie-breaking. Its
        diagonal is the index of two tie-breakings of one run: 1 without ties at the boundary, 0 for equal scores.

    Raises:
        ValueError: The runs select different numbers of elements.
    """
    sizes = selections.sum(axis=1)
    if selections.ndim != 2 or not np.allclose(sizes, sizes[0], rtol=0, atol=1e-6):
        raise ValueError("kappa needs masks of shape (runs, N) with the same number selected in every run")
    z = selections.astype(np.float64)
    return kuncheva(z @ z.T, selections.shape[1], round(float(sizes[0])))


def jaccard_matrix(a: FloatArray, b: FloatArray, k: int) -> FloatArray:
    """Jaccard index of the top k of every run of `a` and every run of `b`, in expectation over tie-breaking.

    Args:
        a: Scores, shape (runs_a, N).
        b: Scores, shape (runs_b, N).
        k: Size of the sets.

    Returns:
        Shape (runs_a, runs_b). Exact: the mean over the law of the overlap, see `tied_overlap_law`.
    """
    first, second = membership(a, k), membership(b, k)
    index = jaccard_of_overlap(first @ second.T, k, k)
    for i, j in np.argwhere(_straddles(first)[:, None] | _straddles(second)):
        index[i, j] = tied_overlap_law(first[i], second[j]).jaccard_mean
    return index


def tied_overlap_law(a: FloatArray, b: FloatArray) -> OverlapLaw:
    """Law of the overlap of two top-k sets over independent random tie-breaking.

    Args:
        a: Membership of the first set, shape (N,), with one value at most between 0 and 1 (see `membership`).
        b: Membership of the second set.
    """
    size_a, size_b = round(float(a.sum())), round(float(b.sum()))
    tied_a, tied_b = (a > 0) & (a < 1), (b > 0) & (b < 1)
    sure_a, sure_b = a == 1, b == 1
    draws_a, draws_b = size_a - int(sure_a.sum()), size_b - int(sure_b.sum())
    both, n_a, n_b = int((tied_a & tied_b).sum()), int(tied_a.sum()), int(tied_b.sum())
    met, certain, waiting = (int(x.sum()) for x in (tied_a & sure_b, sure_a & sure_b, sure_a & tied_b))
    pmf = np.zeros(min(size_a, size_b) + 1)
    shared_draws = uniform_law(n_a, both, draws_a)
    for in_both, probability in zip(shared_draws.support.tolist(), shared_draws.pmf.tolist(), strict=True):
        # Of the drawn elements that b does not leave open, those that b selects; then what b draws of a's set.
        chosen = uniform_law(n_a - both, met, draws_a - in_both)
        drawn = uniform_law(n_b, waiting + in_both, draws_b)
        start = certain + int(chosen.support[0]) + int(drawn.support[0])
        part = np.convolve(chosen.pmf, drawn.pmf)
        pmf[start : start + part.size] += probability * part
    support = np.flatnonzero(pmf)
    return OverlapLaw(size_a, size_b, int(support[-1]), support.astype(np.int64), pmf[support] / pmf.sum())


def _straddles(member: FloatArray) -> BoolArray:
    return np.asarray(((member > 0) & (member < 1)).any(axis=1))


def kappa_curve(a: FloatArray, b: FloatArray) -> FloatArray:
    """Kuncheva's index of two rankings at every k = 1 .. N-1, in expectation over random tie-breaking.

    Args:
        a: Scores, shape (pairs, N); higher is more important.
        b: Scores of the same shape.

    Returns:
        Curves, shape (pairs, N-1); entry `k - 1` is the index of the two top-k sets.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"two score arrays of one shape (pairs, N) are needed, got {a.shape} and {b.shape}")
    n = a.shape[-1]
    ks = np.arange(1, n)
    shared = np.stack([_shared_at_every_k(x, y) for x, y in zip(a, b, strict=True)])
    return np.asarray((shared * n - ks * ks) / (ks * (n - ks)), dtype=np.float64)


def _shared_at_every_k(a: FloatArray, b: FloatArray) -> FloatArray:
    """Expected overlap of the top k of two score vectors, shape (N,), at every k = 1 .. N-1."""
    n = a.size
    if all(np.unique(scores).size == n for scores in (a, b)):
        # Without ties an element is shared from the lower of its two ranks on.
        lower = np.maximum(descending_ranks(a), descending_ranks(b))
        return np.bincount(lower, minlength=n).cumsum()[:-1].astype(np.float64)
    ks = np.arange(1, n)[:, None]
    return np.asarray((membership(a, ks) * membership(b, ks)).sum(axis=-1))


def _check_masks(a: BoolArray, b: BoolArray) -> None:
    if a.ndim != 1 or a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(f"two boolean masks of equal length are needed, got {a.shape} {a.dtype}, {b.shape} {b.dtype}")
