"""How much rankings of one cell and of different cells agree: noise ceiling, agreement between, their ratio."""

from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from math import factorial, prod

import numpy as np

from layersig.analysis.jackknife import Jackknife, pair_mean, pair_means_without
from layersig.analysis.overlap import pairwise_kappa
from layersig.analysis.rankcorr import pairwise_correlation
from layersig.analysis.results import BoolArray, Estimate, FloatArray, IntArray, monte_carlo_p
from layersig.analysis.selections import membership

_MOST_RELABELLINGS = 20_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """Chance-corrected overlap of selections at one k.

    Attributes:
        k: Size of the selections.
        within: Mean kappa of different seeds of one cell, the noise ceiling.
        between: Mean kappa of different cells.
        ratio: `between / within`; 1 when cells differ no more than seeds do.
    """

    k: int
    within: Estimate
    between: Estimate
    ratio: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class RunDesign:
    """Which runs share a cell, and which share a seed.

    Attributes:
        cells: Cell (data set, checkpoint, scorer, model) of each run, shape (runs,).
        seeds: Seed of each run when equal numbers mean shared initialisation or order; None when all differ. Every
            cell then has the same seeds, or cells have none in common.
        samples: Sample of rows that each run saw, numbered inside its cell; None where a cell has one. Agreement within
            a cell is then that of different samples, so that the ceiling holds the noise of rows too.
    """

    cells: IntArray
    seeds: IntArray | None = None
    samples: IntArray | None = None

    @property
    def within(self) -> BoolArray:
        """Pairs of different runs of one cell, shape (runs, runs): of other seeds, and other samples if there are."""
        pairs = (self.cells[:, None] == self.cells) & ~np.eye(self.cells.size, dtype=np.bool_)
        for label in (self.seeds, self.samples):
            if label is not None:
                pairs &= label[:, None] != label
        return np.asarray(pairs)

    @property
    def between(self) -> BoolArray:
        """Pairs of different cells, without those that share a seed."""
        pairs = self.cells[:, None] != self.cells
        return np.asarray(pairs if self.seeds is None else pairs & (self.seeds[:, None] != self.seeds))

    @property
    def units(self) -> IntArray:
        """What a jackknife leaves out: a run, or a seed with all its runs when seeds are shared."""
        if self.seeds is None:
            return np.arange(self.cells.size)
        return np.unique(self.seeds, return_inverse=True)[1].astype(np.int64)

    @property
    def unit_strata(self) -> IntArray:
        """Stratum of each unit: the cells that it has runs in."""
        cells = np.unique(self.cells, return_inverse=True)[1]
        present = np.zeros((int(self.units.max()) + 1, int(cells.max()) + 1), dtype=np.int64)
        present[self.units, cells] = 1
        return np.unique(present, axis=0, return_inverse=True)[1].astype(np.int64).ravel()

    @property
    def fewest_seeds(self) -> int:
        """Runs of the smallest cell, or of its smallest sample of rows."""
        groups = self.cells if self.samples is None else np.stack([self.cells, self.samples], axis=1)
        return int(np.unique(groups, axis=0, return_counts=True)[1].min())


def agreement_jackknife_runs(scores: FloatArray, design: RunDesign, k: int) -> Agreement:
    """Agreement within and between cells with delete-one-run jackknife errors and a t law.

    Runs are left out inside their cell (data sets are fixed). When runs share seeds, whole seeds are left out instead.
    Pairs are never treated as independent, and runs are never drawn with replacement: a run that meets its own copy
    counts as perfect agreement.

    Args:
        scores: Shape (runs, N); higher is more important.
        design: Cells and seeds; at least two runs in every cell.
        k: Size of the selections.

    Returns:
        Estimates with (runs - cells) degrees of freedom, or (seeds - 1) when seeds are shared. With a single cell,
        `between` and `ratio` are NaN.

    Raises:
        ValueError: Shapes do not fit, or a cell has a single run.
    """
    _check_runs(scores, design)
    return _agreement(pairwise_kappa(membership(scores, k)), design, k)


def _agreement(kappa: FloatArray, design: RunDesign, k: int) -> Agreement:
    within, between = pair_mean(kappa, design.within), pair_mean(kappa, design.between)
    without = [pair_means_without(kappa, pairs, design.units) for pairs in (design.within, design.between)]
    with np.errstate(invalid="ignore", divide="ignore"):
        jackknife = Jackknife(np.stack([*without, without[1] / without[0]], axis=1), design.unit_strata)
        ratio = float(np.divide(between, within))
    se = np.sqrt(np.diag(jackknife.covariance()))
    estimates = [Estimate(value, float(s), jackknife.df) for value, s in zip((within, between, ratio), se, strict=True)]
    return Agreement(k, *estimates)


def repeat_agreement(scores: FloatArray, k: int) -> Estimate:
    """Agreement of repeats of one run, such as two scorings of one training: mean kappa with its error over runs.

    Args:
        scores: Shape (repeats >= 2, runs >= 2, N).
        k: Size of the selections.

    Returns:
        The mean over runs of the mean kappa over pairs of repeats, with (runs - 1) degrees of freedom.
    """
    repeats = len(scores)
    pairs = ~np.eye(repeats, dtype=np.bool_)
    each = np.array([pair_mean(pairwise_kappa(membership(run, k)), pairs) for run in scores.swapaxes(0, 1)])
    return Estimate(float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size)), each.size - 1)


@dataclass(frozen=True, slots=True)
class LabelTest:
    """Outcome of a permutation of cell labels.

    Attributes:
        p: P-value.
        least: The smallest p-value that the design can give, whatever the data.
        draws: Number of Monte Carlo relabellings; None when all were enumerated.
    """

    p: float
    least: float
    draws: int | None


def label_permutation_test(
    scores: FloatArray, design: RunDesign, rng: np.random.Generator, draws: int = 9999
) -> LabelTest | None:
    """Test whether runs are exchangeable between cells: whole runs are relabelled, inside seed blocks when shared.

    The statistic is the mean correlation (of normal scores) of runs of one cell minus that of runs of different cells,
    every correlation divided by sqrt(within_a within_b) of the two runs' own cells, so that a cell with more noise does
    not look different for that alone. It is a test of exchangeability nonetheless: cells whose noise differs widely in
    size are found unlike somewhat too often. `attenuation.corrected_between` holds there.

    All distinct relabellings are enumerated when there are at most 20,000 of them, else `draws` are drawn and the +1
    rule applies.

    Args:
        scores: Shape (runs, N).
        design: Cells and seeds.
        rng: Source of randomness, unused when the enumeration is exact.
        draws: Number of Monte Carlo relabellings.

    Returns:
        None where the runs of a cell do not agree at all, so that there is nothing to divide by.

    Raises:
        ValueError: Shapes do not fit, fewer than two cells, several samples in a cell, or a seed block is not one run
            of every cell.

    Source:
        Anderson 2001, permutation of whole multivariate observations within blocks.
    """
    _check_runs(scores, design)
    cells = np.unique(design.cells, return_inverse=True)[1].astype(np.int64)
    if int(cells.max()) < 1 or design.samples is not None:
        raise ValueError("a difference between cells needs at least two cells, each with one sample of rows")
    distinct_seed = ~np.eye(cells.size, dtype=np.bool_)
    if design.seeds is not None:
        distinct_seed &= design.seeds[:, None] != design.seeds
        exact = _blocked_relabellings(cells, design.seeds)
    else:
        exact = _unblocked_relabellings(cells)
    correlation = pairwise_correlation(scores)
    own = np.array(
        [pair_mean(correlation, design.within & (cells == cell)[:, None]) for cell in range(int(cells.max()) + 1)]
    )
    if not np.all(own > 0):
        return None
    noise_free = correlation / np.sqrt(np.outer(own[cells], own[cells]))
    blocks = np.zeros_like(cells) if design.seeds is None else design.seeds
    labels = exact if exact is not None else _draw_within_blocks(cells, blocks, rng, draws)
    observed = float(_within_minus_between(noise_free, cells[None], distinct_seed)[0])
    null = _within_minus_between(noise_free, labels, distinct_seed)
    if exact is None:
        return LabelTest(monte_carlo_p(observed, null).p, 1 / (draws + 1), draws)
    as_observed = (_together(exact) == _together(cells)).all(axis=(-2, -1))
    return LabelTest(float((null >= observed - 1e-9).mean()), float(as_observed.mean()), None)


def _within_minus_between(kappa: FloatArray, labels: IntArray, distinct_seed: BoolArray) -> FloatArray:
    same = _together(labels)
    off_diagonal = ~np.eye(kappa.shape[0], dtype=np.bool_)
    within, between = same & off_diagonal, ~same & distinct_seed
    return np.asarray(
        (kappa * within).sum((1, 2)) / within.sum((1, 2)) - (kappa * between).sum((1, 2)) / between.sum((1, 2))
    )


def _together(labels: IntArray) -> BoolArray:
    return np.asarray(labels[..., :, None] == labels[..., None, :])


def _unblocked_relabellings(cells: IntArray) -> IntArray | None:
    counts = tuple(np.bincount(cells).tolist())
    if factorial(cells.size) // prod(factorial(count) for count in counts) > _MOST_RELABELLINGS:
        return None
    return _labellings(counts)


@cache
def _labellings(counts: tuple[int, ...]) -> IntArray:
    labellings: list[tuple[int, ...]] = [()]
    for _ in range(sum(counts)):
        labellings = [(*done, c) for done in labellings for c in range(len(counts)) if done.count(c) < counts[c]]
    return np.array(labellings, dtype=np.int64)


def _blocked_relabellings(cells: IntArray, seeds: IntArray) -> IntArray | None:
    blocks = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    n_cells = int(cells.max()) + 1
    if any(sorted(cells[block]) != list(range(n_cells)) for block in blocks):
        raise ValueError("shared seeds must form complete blocks: one run of every cell for every seed")
    if factorial(n_cells) ** (len(blocks) - 1) > _MOST_RELABELLINGS:
        return None
    labels = []
    for choice in product(permutations(range(n_cells)), repeat=len(blocks) - 1):
        row = cells.copy()
        for block, labelling in zip(blocks[1:], choice, strict=True):
            row[block] = labelling
        labels.append(row)
    return np.array(labels, dtype=np.int64)


def _draw_within_blocks(cells: IntArray, blocks: IntArray, rng: np.random.Generator, draws: int) -> IntArray:
    labels = np.tile(cells, (draws, 1))
    for block in np.unique(blocks):
        positions = np.flatnonzero(blocks == block)
        labels[:, positions] = rng.permuted(labels[:, positions], axis=1)
    return labels


def _check_runs(scores: FloatArray, design: RunDesign) -> None:
    if scores.ndim != 2 or scores.shape[0] != design.cells.size:
        raise ValueError(f"scores must have shape ({design.cells.size} runs, N), got {scores.shape}")
    if design.seeds is not None and design.seeds.shape != design.cells.shape:
        raise ValueError(f"seeds {design.seeds.shape} and cells {design.cells.shape} differ in shape")
    if design.fewest_seeds < 2:
        raise ValueError("every cell needs at least two runs, else the noise within a cell is unknown")
