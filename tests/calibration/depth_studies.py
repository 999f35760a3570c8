"""Do groups of rankings agree, do they differ? Which null distribution holds under dependence over depth."""

import numpy as np

from layersig.analysis.agreement import RunDesign, label_permutation_test
from layersig.analysis.overlap import law_given_strata, uniform_law
from layersig.analysis.results import FloatArray
from layersig.analysis.selections import top_k
from layersig.analysis.surrogates import interior, residuals, surrogate_test
from tests.calibration.report import Study, Table, at_most, percent
from tests.calibration.simulate import DEPTHS, Depth, K, decoder_grid, score_fields, type_effects

DRAWS = 199  # twice the smaller of two shares of 1 / 200 gives an exact two-sided 5 % test
_ALL = np.ones((1, 1), dtype=np.bool_)
_TESTS = ("uniform", "within type", "phases of the scores", "residuals")


def raw_phase_p(a: FloatArray, b: FloatArray, rng: np.random.Generator) -> float:
    """One-sided p of Spearman's correlation against random phases of whole profiles, shape (blocks, types) each.

    What is widely used (Ebisuzaki 1997), here for comparison.
    """
    spectra = []
    for profile in (a, b):
        ranks = np.argsort(np.argsort(profile, axis=None)).reshape(profile.shape).astype(np.float64)
        spectra.append(np.fft.rfft(ranks - ranks.mean(), axis=0))
    cross = (spectra[0] * np.conj(spectra[1])).sum(axis=1)
    cross[1 : (len(a) + 1) // 2] *= 2
    angles = rng.uniform(0, 2 * np.pi, size=(DRAWS, cross.size))
    angles[:, 0] = 0
    if len(a) % 2 == 0:
        angles[:, -1] = np.pi * rng.integers(0, 2, DRAWS)
    null = (cross * np.exp(1j * angles)).real.sum(axis=1)
    return float(1 + np.count_nonzero(null >= cross.real.sum() - 1e-9)) / (DRAWS + 1)


def pair_nulls(reps: int, rng: np.random.Generator) -> Study:
    """Two independent rankings: how often does each null find agreement?"""
    rows, held = [], []
    cases = [(f"{depth.lag_one:g}", depth, 1) for depth in DEPTHS] + [("0.5, cubed scores", Depth(0.5, 0.3), 3)]
    for label, depth, power in cases:
        rates = _pair_rates(reps, rng, depth, 0.0, power)
        rows.append((label, f"{depth.block:g}", *(percent(rates[name]) for name in _TESTS)))
        held.append(rates["residuals"])
    power_rows = []
    for shared in (0.2, 0.3):
        rates = _pair_rates(reps, rng, Depth(0.5, 0.3), shared)
        power_rows.append((f"{shared:g}", *(percent(rates[name]) for name in _TESTS[2:])))
    return Study(
        "Agreement of two rankings: which null holds",
        "Two rankings of 210 modules (30 blocks x 7 types) share type effects (variance 1) and nothing else; their "
        "fields (variance 1) depend on depth and block as given. Uniform and within-type permutation use the exact "
        "laws of the overlap at 30 %, one-sided. Phases of the scores: Spearman's correlation against Fourier-phase "
        f"surrogates of whole profiles, one-sided. Residuals: the test of the reports, two-sided. {DRAWS} surrogates.",
        (
            Table(
                "pair-nulls",
                "Rejections where there is no agreement beyond module type (nominal 5 %).",
                ("lag-1 autocorrelation", "shared in a block", *_TESTS),
                tuple(rows),
            ),
            Table(
                "pair-power",
                "Rejections when the fields correlate as given (lag-1 .5, shared in a block .3).",
                ("correlation", *_TESTS[2:]),
                tuple(power_rows),
            ),
        ),
        (at_most("surrogate test of two rankings, stationary profiles", held, 0.07),),
    )


def _pair_rates(reps: int, rng: np.random.Generator, depth: Depth, shared: float, power: int = 1) -> dict[str, float]:
    grid = decoder_grid()
    where = interior(grid.types, grid.depths)
    assert where is not None
    rejected = dict.fromkeys(_TESTS, 0)
    for _ in range(reps):
        own, common = score_fields(rng, (2,), depth), score_fields(rng, (1,), depth)
        scores = (type_effects(rng) + np.sqrt(1 - shared) * own + np.sqrt(shared) * common) ** power
        a, b = top_k(scores, K)
        overlap = int((a & b).sum())
        rejected["uniform"] += uniform_law(grid.n, K, K).p_value(overlap).p <= 0.05
        rejected["within type"] += law_given_strata(a, b, grid.types).p_value(overlap).p <= 0.05
        centred = grid.fields(scores) - grid.fields(scores).mean(axis=1, keepdims=True)
        rejected["phases of the scores"] += raw_phase_p(*centred, rng) <= 0.05
        one, other = (residuals(each[None], where) for each in scores)
        rejected["residuals"] += surrogate_test(one, other, _ALL, rng, draws=DRAWS).p <= 0.05
    return {name: count / reps for name, count in rejected.items()}


def group_nulls(reps: int, rng: np.random.Generator) -> Study:
    """Two scorers with five seeds each that share the noise of their trainings, and nothing else."""
    grid, unlike = decoder_grid(), ~np.eye(5, dtype=np.bool_)
    where = interior(grid.types, grid.depths)
    assert where is not None
    rows, rates = [], []
    for depth in (Depth(0.0, 0.0), Depth(0.5, 0.0), Depth(0.7, 0.0), Depth(0.5, 0.3), Depth(0.7, 0.3)):
        rejected = np.zeros(2)
        for _ in range(reps):
            training = np.sqrt(0.3) * score_fields(rng, (5,), depth)
            fixed = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (2, 1), depth)
            scores = fixed + training + np.sqrt(0.2) * score_fields(rng, (2, 5), depth)
            a, b = (residuals(each, where) for each in scores)
            for column, pairs in enumerate((unlike, np.ones_like(unlike))):
                rejected[column] += surrogate_test(a, b, pairs, rng, draws=DRAWS).p <= 0.05
        rate, naive = (rejected / reps).tolist()
        rows.append((f"{depth.lag_one:g}", f"{depth.block:g}", percent(rate), percent(naive)))
        rates.append(rate)
    return Study(
        "Agreement of two scorers that read the same five trainings",
        "Seeds of a scorer share half of their field variance; the two scorers share the noise of each training (.3 of "
        "the variance) and the type effects. All runs of a scorer move together.",
        (
            Table(
                "group-nulls",
                "Rejections where scorers agree in module types only (nominal 5 %).",
                ("lag-1 autocorrelation", "shared in a block", "pairs of different seeds", "all pairs"),
                tuple(rows),
            ),
        ),
        (at_most("surrogate test of two scorers x 5 shared seeds", rates, 0.07),),
    )


def label_tests(reps: int, rng: np.random.Generator) -> Study:
    """Difference between data sets: permutation of run labels."""
    smooth = Depth(0.5, 0.3)
    rows, rates = [], []
    for seeds in (3, 5):
        for crossed in (False, True):
            numbers = "shared" if crossed else "distinct"
            null = [_label_rate(reps, rng, seeds, depth, crossed, 0.0) for depth in (Depth(0.0, 0.0), smooth)]
            power = [_label_rate(reps, rng, seeds, smooth, crossed, variance) for variance in (0.05, 0.1)]
            rows.append((str(seeds), numbers, *(percent(rate) for rate in [*null, *power])))
            rates += null
    header = ("seeds", "seed numbers", "null, independent", "null, lag-1 .5, block .3", "variance .05", "variance .1")
    return Study(
        "Difference between three data sets",
        "Rankings share type effects and a module field (variance .5), runs have noise of variance .5; with shared "
        "seed "
        "numbers half of that noise belongs to the seed, and labels are permuted within seeds. The last two columns "
        "give "
        "power when data sets have fields of their own with the given variance (lag-1 .5, block .3).",
        (
            Table(
                "label-tests",
                "Rejections at nominal 5 %, one-sided, correlation of whole rankings.",
                header,
                tuple(rows),
            ),
        ),
        (at_most("label permutation over whole runs, also within seed blocks", rates, 0.065),),
    )


def _label_rate(
    reps: int, rng: np.random.Generator, seeds: int, depth: Depth, crossed: bool, data_variance: float
) -> float:
    cells, numbers = np.repeat(np.arange(3), seeds), np.tile(np.arange(seeds), 3)
    design = RunDesign(cells, numbers if crossed else None)
    rejected = 0
    for _ in range(reps):
        noise = score_fields(rng, (3 * seeds,), depth)
        if crossed:
            noise = np.sqrt(0.5) * noise + np.sqrt(0.5) * score_fields(rng, (seeds,), depth)[numbers]
        common = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), depth)
        data = np.sqrt(data_variance) * score_fields(rng, (3,), depth)[cells]
        rejected += _relabelled(common + data + np.sqrt(0.5) * noise, design, rng)
    return rejected / reps


def _relabelled(scores: FloatArray, design: RunDesign, rng: np.random.Generator) -> bool:
    test = label_permutation_test(scores, design, rng, draws=199)
    return test is not None and test.p <= 0.05
