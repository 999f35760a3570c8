"""The claim "these cells share layers": an equivalence test of agreement between cells against the noise ceiling."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from layersig.analysis.agreement import Agreement, RunDesign, agreement_jackknife_runs
from layersig.analysis.modulegrid import ModuleGrid
from layersig.analysis.overlap import top_k
from layersig.analysis.results import BoolArray, Estimate, FloatArray

MIN_SEEDS_FOR_SHARING = 5
_CHUNK = 200


class SharingVerdict(StrEnum):
    """What the sharing test may conclude."""

    SHARED = "shares layers"
    NOT_SHOWN = "sharing not shown"
    TOO_FEW_SEEDS = "too few seeds for a sharing verdict"


@dataclass(frozen=True, slots=True)
class RatioBound:
    """One-sided lower confidence bound of kappa_between / kappa_within.

    Attributes:
        ratio: The estimate.
        lower: Lower bound.
        level: Confidence of the bound.
    """

    ratio: float
    lower: float
    level: float


@dataclass(frozen=True, slots=True)
class SharingTest:
    """Outcome of the sharing test.

    Attributes:
        bound: Estimate and lower bound of the ratio.
        margin: What the bound must exceed.
        fewest_seeds: Runs in the smallest cell.
        verdict: The conclusion.
    """

    bound: RatioBound
    margin: float
    fewest_seeds: int
    verdict: SharingVerdict


def ratio_bound_jackknife_runs(scores: FloatArray, design: RunDesign, k: int, level: float = 0.95) -> RatioBound:
    """Lower bound of the ratio by delete-one-run jackknife with t (see ``agreement_jackknife_runs``).

    The bound is -inf when the noise ceiling itself is not shown to be above 0.

    Raises:
        ValueError: Shapes do not fit, a cell has a single run, or there is one cell only.
    """
    agreement = _agreement_of_cells(scores, design, k)
    return _bound(agreement, agreement.ratio, level)


def ratio_bound_bootstrap_residuals(
    scores: FloatArray,
    design: RunDesign,
    k: int,
    grid: ModuleGrid,
    rng: np.random.Generator,
    draws: int = 1999,
    level: float = 0.95,
) -> RatioBound:
    """Lower bound of the ratio by a parametric bootstrap of the variance-component model.

    The model is normal score = module + cell x module + run x module. The first two are fixed at their estimates,
    shrunk to the variance that is left after the noise of averaging runs is taken off. The run term is drawn afresh by
    giving each residual field random Fourier phases, the same for all types, so that it keeps its smoothness over depth
    and its correlation between types.

    Args:
        scores: Shape (runs, N).
        design: Cells; seeds must be distinct between cells (``seeds`` None).
        k: Size of the selections.
        grid: Where the modules lie.
        rng: Source of randomness.
        draws: Bootstrap samples.
        level: Confidence of the bound.

    Returns:
        ratio - t * se with the bootstrap's standard error and (runs - cells) degrees of freedom: quantiles of the
        bootstrap ignore that the noise variance itself is estimated, and give a bound that is too high. The bound is
        -inf when the noise ceiling itself is not shown to be above 0.

    Raises:
        ValueError: Seeds are shared between cells, a cell has a single run, or there is one cell only.
    """
    if design.seeds is not None:
        raise ValueError("the parametric bootstrap needs distinct seeds in every cell; use the jackknife over seeds")
    agreement = _agreement_of_cells(scores, design, k)
    n = scores.shape[1]
    normal = stats.norm.ppf((stats.rankdata(scores, axis=1) - 0.5) / n)
    cells = np.unique(design.cells, return_inverse=True)[1]
    member = np.eye(int(cells.max()) + 1)[cells]
    sizes = member.sum(axis=0)
    cell_means = (member / sizes).T @ normal
    residuals = (normal - cell_means[cells]) * np.sqrt(sizes / (sizes - 1))[cells, None]
    noise = float((residuals**2).mean())
    common = cell_means.mean(axis=0)
    # A cell's mean enters the common mean too, which takes a share of 1 / cells off the noise of its deviation.
    deviation_noise = noise / float(sizes.mean()) * (1 - 1 / sizes.size)
    signal = _shrunk(common, noise / cells.size) + _shrunk(cell_means - common, deviation_noise)[cells]
    ratios = np.concatenate(
        [
            _ratios(top_k(signal + _rephased(residuals, grid, rng, min(_CHUNK, draws - start)), k), design)
            for start in range(0, draws, _CHUNK)
        ]
    )
    ratio = Estimate(agreement.ratio.value, float(ratios.std(ddof=1)), cells.size - sizes.size)
    return _bound(agreement, ratio, level)


def sharing_test(bound: RatioBound, design: RunDesign, margin: float = 0.9) -> SharingTest:
    """Decide whether cells share layers.

    Args:
        bound: Lower bound of the ratio, from either method.
        design: Cells of the runs, for the number of seeds.
        margin: Least share of the noise ceiling that counts as "the same layers".

    Returns:
        ``SHARED`` when the bound is above the margin; never with fewer than five seeds in a cell. A ratio that fails
        the test is "not shown", not "different": see ``label_permutation_test`` for a difference.
    """
    if design.fewest_seeds < MIN_SEEDS_FOR_SHARING:
        verdict = SharingVerdict.TOO_FEW_SEEDS
    else:
        verdict = SharingVerdict.SHARED if bound.lower > margin else SharingVerdict.NOT_SHOWN
    return SharingTest(bound, margin, design.fewest_seeds, verdict)


def _agreement_of_cells(scores: FloatArray, design: RunDesign, k: int) -> Agreement:
    if np.unique(design.cells).size < 2:
        raise ValueError("sharing compares cells: at least two are needed")
    return agreement_jackknife_runs(scores, design, k)


def _bound(agreement: Agreement, ratio: Estimate, level: float) -> RatioBound:
    has_ceiling = agreement.within.lower_bound(level) > 0
    return RatioBound(ratio.value, ratio.lower_bound(level) if has_ceiling else -np.inf, level)


def _shrunk(values: FloatArray, noise_variance: float) -> FloatArray:
    centre = values.mean(axis=-1, keepdims=True)
    variance = float(((values - centre) ** 2).mean())
    keep = np.sqrt(max(0.0, 1 - noise_variance / variance)) if variance > 0 else 0.0
    return np.asarray(centre + keep * (values - centre))


def _rephased(residuals: FloatArray, grid: ModuleGrid, rng: np.random.Generator, draws: int) -> FloatArray:
    blocks = grid.index.shape[0]
    spectrum = np.fft.rfft(grid.fields(residuals), axis=1)
    angles = rng.uniform(0, 2 * np.pi, size=(draws, *spectrum.shape[:2]))
    signs = np.pi * rng.integers(0, 2, size=(draws, residuals.shape[0], 3))
    angles[..., 0] = signs[..., 0]
    if blocks % 2 == 0:
        angles[..., -1] = signs[..., 1]
    out: FloatArray = residuals * np.cos(signs[..., 2:])
    out[..., grid.index] = np.fft.irfft(spectrum * np.exp(1j * angles)[..., None], n=blocks, axis=2)
    return out


def _ratios(selections: BoolArray, design: RunDesign) -> FloatArray:
    """Ratio of mean kappas for every draw; kappa is proportional to the inner product of centred masks."""
    z = selections - selections.mean(axis=-1, keepdims=True)
    gram = z @ np.swapaxes(z, -1, -2)
    return np.asarray(gram[:, design.between].mean(axis=1) / gram[:, design.within].mean(axis=1))
