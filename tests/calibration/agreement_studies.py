"""Intervals of agreement within and between cells, and the claim that cells share layers."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.agreement import RunDesign, agreement_jackknife_runs
from layersig.analysis.attenuation import disattenuated_correlation
from layersig.analysis.identity import identity_gain, type_depth_fit
from layersig.analysis.jackknife import pair_mean
from layersig.analysis.overlap import kuncheva, pairwise_kappa
from layersig.analysis.rankcorr import pairwise_spearman
from layersig.analysis.results import FloatArray, IntArray
from layersig.analysis.selections import top_k
from layersig.analysis.sharing import ratio_bound_jackknife_runs
from tests.calibration.report import Study, Table, at_least, at_most, percent
from tests.calibration.simulate import N_MODULES, Depth, K, decoder_grid, score_fields, type_effects

_STRUCTURES = 20
_RUNS_FOR_TRUTH = 400
_MARGIN = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """The fixed part of rankings, shape (data sets, 210), and what noise the runs add."""

    fixed: FloatArray
    depth: Depth
    noise_variance: float

    def runs(self, rng: np.random.Generator, seeds: int) -> FloatArray:
        """Scores, shape (data sets * seeds, 210), the runs of a data set next to each other."""
        cells = np.repeat(np.arange(len(self.fixed)), seeds)
        noise = score_fields(rng, (cells.size,), self.depth)
        return np.asarray(self.fixed[cells] + np.sqrt(self.noise_variance) * noise)


def _design(data_sets: int, seeds: int) -> RunDesign:
    return RunDesign(np.repeat(np.arange(data_sets), seeds))


def _structures(rng: np.random.Generator, data_sets: int, depth: Depth, data_variance: float = 0.1) -> list[Structure]:
    made = []
    for _ in range(_STRUCTURES):
        common = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), depth)
        own = np.sqrt(data_variance) * score_fields(rng, (data_sets,), depth)
        made.append(Structure(common + own, depth, 0.5))
    return made


def _at_ratio(rng: np.random.Generator, depth: Depth, ratio: float) -> list[Structure]:
    """Structures of three data sets whose true kappa_between / kappa_within is ``ratio``, found by bisection."""
    made, runs = [], _RUNS_FOR_TRUTH // 2
    for _ in range(_STRUCTURES):
        common = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), depth)
        own = score_fields(rng, (3,), depth)
        noise = np.sqrt(0.5) * score_fields(rng, (3 * runs,), depth)
        low, high = 0.0, 1.0
        for _ in range(10):
            middle = (low + high) / 2
            scores = np.repeat(common + np.sqrt(middle) * own, runs, axis=0) + noise
            low, high = (low, middle) if _true_ratio(scores) < ratio else (middle, high)
        made.append(Structure(common + np.sqrt((low + high) / 2) * own, depth, 0.5))
    return made


def _true_ratio(scores: FloatArray) -> float:
    kappa = pairwise_kappa(top_k(scores, K))
    design = _design(3, len(scores) // 3)
    return pair_mean(kappa, design.between) / pair_mean(kappa, design.within)


def sharing(reps: int, rng: np.random.Generator) -> Study:
    """The sharing test at the margin, and its power when data sets are the same."""
    rows, errors = [], []
    for depth in (Depth(0.0, 0.0), Depth(0.5, 0.3)):
        at_margin, same = _at_ratio(rng, depth, _MARGIN), _structures(rng, 3, depth, data_variance=0.0)
        for seeds in (3, 5, 8):
            wrong, _ = _sharing_rates(reps, rng, at_margin, seeds)
            power, half_width = _sharing_rates(reps, rng, same, seeds)
            rows.append((str(seeds), f"{depth.lag_one:g}, {depth.block:g}", percent(wrong), percent(power),
                         f"{half_width:.3f}"))  # fmt: skip
            if seeds >= 5:
                errors.append(wrong)
    header = ("seeds", "lag-1, block", "error, jackknife t", "power, jackknife t", "half-width")
    return Study(
        "Sharing: is kappa_between / kappa_within above .9?",
        f"Three data sets, kappa at 30 %. Error: the bound exceeds .9 in {_STRUCTURES} fixed structures whose true "
        "ratio is "
        ".9. Power: it exceeds .9 when the data sets are the same (true ratio 1); the half-width is the mean "
        "distance from "
        "the ratio to its one-sided 95 % bound. Rows with 3 seeds are for comparison: the test gives no verdict there.",
        (Table("sharing", "Sharing test at one-sided 5 %.", header, tuple(rows)),),
        (at_most("sharing test claims sharing at a true ratio of .9 (5 and 8 seeds)", errors, 0.06),),
    )


def _sharing_rates(reps: int, rng: np.random.Generator, structures: list[Structure], seeds: int) -> tuple[float, float]:
    design = _design(3, seeds)
    shared, reach = 0, 0.0
    for repetition in range(reps):
        scores = structures[repetition % len(structures)].runs(rng, seeds)
        bound = ratio_bound_jackknife_runs(scores, design, K)
        shared += bound.lower > _MARGIN
        reach += bound.ratio - bound.lower
    return shared / reps, reach / reps


def interval_coverage(reps: int, rng: np.random.Generator) -> Study:
    """Coverage of intervals for the noise ceiling: jackknife against a bootstrap over runs."""
    rows, held = [], []
    for seeds in (3, 5, 10):
        for depth in (Depth(0.0, 0.0), Depth(0.5, 0.3)):
            structures = _structures(rng, 1, depth)
            truths = [_ceiling(s, rng) for s in structures]
            covered, bias = np.zeros(2), 0.0
            for repetition in range(reps):
                which = repetition % _STRUCTURES
                scores, design = structures[which].runs(rng, seeds), _design(1, seeds)
                within = agreement_jackknife_runs(scores, design, K).within
                covered[0] += within.interval().contains(truths[which])
                means = _bootstrap_runs(pairwise_kappa(top_k(scores, K)), rng, 199)
                low, high = np.quantile(means, [0.025, 0.975])
                covered[1] += low <= truths[which] <= high
                bias += means.mean() - within.value
            jackknife, bootstrap = (covered / reps).tolist()
            rows.append((str(seeds), f"{depth.lag_one:g}, {depth.block:g}", percent(jackknife), percent(bootstrap),
                         f"{bias / reps:+.3f}"))  # fmt: skip
            if seeds >= 5:
                held.append(jackknife)
    header = ("runs", "lag-1, block", "delete-one-run jackknife t", "bootstrap over runs", "bias of the bootstrap")
    return Study(
        "Intervals of the noise ceiling",
        "Runs of one cell; the truth is the expected kappa at 30 % of two runs. The bootstrap draws runs with "
        "replacement "
        "and averages over pairs; a run that is drawn twice meets its copy and agrees fully with it.",
        (Table("ceiling", "Coverage of nominal 95 % intervals.", header, tuple(rows)),),
        (at_least("jackknife interval of the noise ceiling, 5 runs or more", held, 0.935),),
    )


def _ceiling(structure: Structure, rng: np.random.Generator, runs: int = _RUNS_FOR_TRUTH) -> float:
    kappa = pairwise_kappa(top_k(structure.runs(rng, runs), K))
    return pair_mean(kappa, _design(1, runs).within)


def _bootstrap_runs(kappa: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    drawn = rng.integers(0, len(kappa), size=(draws, len(kappa)))
    matrices = kappa[drawn[:, :, None], drawn[:, None, :]]
    off_diagonal = ~np.eye(len(kappa), dtype=np.bool_)
    return np.asarray(matrices[:, off_diagonal].mean(axis=1))


def gains_and_attenuation(reps: int, rng: np.random.Generator) -> Study:
    """Coverage of the identity gain and of the disattenuated correlation."""
    grid, depth = decoder_grid(), Depth(0.5, 0.3)
    types, depths = grid.types, grid.depths
    rows, gain_held, corrected_held = [], [], []
    for seeds in (5, 8):
        structures = _structures(rng, 2, depth, data_variance=0.2)
        truths = []
        for structure in structures:
            scores = structure.runs(rng, _RUNS_FOR_TRUTH)
            first, second = scores[:_RUNS_FOR_TRUTH], scores[_RUNS_FOR_TRUTH:]
            truths.append((_true_gain(first, types, depths), _true_correlation(first, second)))
        gain = corrected = 0
        for repetition in range(reps):
            which = repetition % _STRUCTURES
            scores = structures[which].runs(rng, seeds)
            true_gain, true_correlation = truths[which]
            estimate = identity_gain(scores[:seeds], _design(1, seeds), K, types, depths)
            gain += estimate.interval().contains(true_gain)
            ratio = disattenuated_correlation(scores[:seeds], scores[seeds:]).corrected
            corrected += ratio is not None and ratio.contains(true_correlation)
        gain_held.append(gain / reps)
        corrected_held.append(corrected / reps)
        rows.append((str(seeds), percent(gain / reps), percent(corrected / reps)))
    return Study(
        "Identity gain and corrected correlation",
        "Coverage of nominal 95 % sets of the identity gain (kappa at 30 %) and of Spearman's correlation of two cells "
        "corrected for attenuation; lag-1 .5, shared in a block .3.",
        (Table("gains", "Coverage.", ("seeds per cell", "identity gain", "corrected correlation"), tuple(rows)),),
        (
            at_least("jackknife interval of the identity gain, 5 runs or more", gain_held, 0.935),
            at_least("Fieller set of the corrected correlation, 5 runs or more", corrected_held, 0.935),
        ),
    )


def _true_gain(scores: FloatArray, types: IntArray, depths: IntArray) -> float:
    target = top_k(scores, K).astype(np.float64)
    smooth = top_k(type_depth_fit(scores, types, depths), K).astype(np.float64)
    gain = kuncheva(target @ target.T, N_MODULES, K) - kuncheva(smooth @ target.T, N_MODULES, K)
    return pair_mean((gain + gain.T) / 2, _design(1, len(scores)).within)


def _true_correlation(a: FloatArray, b: FloatArray) -> float:
    r, design = pairwise_spearman(np.concatenate([a, b])), _design(2, len(a))
    same = design.within
    first = np.repeat([True, False], len(a))
    reliabilities = [pair_mean(r, same & cell & cell[:, None]) for cell in (first, ~first)]
    return pair_mean(r, design.between) / float(np.sqrt(np.prod(reliabilities)))
