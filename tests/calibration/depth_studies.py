"""Do groups of rankings agree, do they differ? Which null distribution holds under dependence over depth."""

import numpy as np

from layersig.analysis.agreement import RunDesign, label_permutation_test
from layersig.analysis.overlap import law_given_strata, top_k, uniform_law
from layersig.analysis.surrogates import (
    DrawSurrogates,
    block_surrogates,
    phase_surrogates,
    shift_surrogates,
    surrogate_test,
    within_type_surrogates,
)
from tests.calibration.report import Study, Table, at_most, percent
from tests.calibration.simulate import DEPTHS, Depth, K, decoder_grid, score_fields, type_effects

_DRAWS = 99  # (1 + #) / 100 <= .05 is an exact 5 % test
_KINDS: dict[str, tuple[DrawSurrogates, int | None]] = {
    "phases": (phase_surrogates, K),
    "shifts": (shift_surrogates, K),
    "blocks": (block_surrogates, K),
    "phases, Spearman": (phase_surrogates, None),
    "within type, Spearman": (within_type_surrogates, None),
}


def pair_nulls(reps: int, rng: np.random.Generator) -> Study:
    """Two independent rankings: how often does each null find agreement?"""
    rows, held = [], dict[str, list[float]]()
    cases = [(f"{depth.lag_one:g}", depth, 1) for depth in DEPTHS] + [("0.5, cubed scores", Depth(0.5, 0.3), 3)]
    for label, depth, power in cases:
        rates = _pair_rates(reps, rng, depth, 0.0, power)
        rows.append((label, f"{depth.block:g}", *(percent(rate) for rate in rates.values())))
        for name, rate in rates.items():
            held.setdefault(name, []).append(rate)
    power_rows = []
    for shared in (0.3,):
        power_rates = _pair_rates(reps, rng, Depth(0.5, 0.3), shared)
        power_rows.append((f"{shared:g}", *(percent(power_rates[name]) for name in list(_KINDS)[:4])))
    return Study(
        "Agreement of two rankings: which null holds",
        "Two rankings of 210 modules (30 blocks x 7 types) share type effects (variance 1) and nothing else; their "
        "fields (variance 1) depend on depth and block as given. The statistic is kappa at 30 %, or Spearman's "
        "correlation "
        "of whole rankings; 99 surrogates. Uniform and within-type permutation use the exact laws.",
        (
            Table(
                "pair-nulls",
                "Rejections where there is no agreement beyond module type (nominal 5 %).",
                ("lag-1 autocorrelation", "shared in a block", "uniform", "within type", *_KINDS),
                tuple(rows),
            ),
            Table(
                "pair-power",
                "Rejections when the fields correlate as given (lag-1 .5, shared in a block .3).",
                ("correlation", *list(_KINDS)[:4]),
                tuple(power_rows),
            ),
        ),
        tuple(
            at_most(f"surrogate test of two rankings: {name}", held[name], 0.065)
            for name in ("phases", "phases, Spearman", "shifts", "blocks")
        ),
    )


def _pair_rates(reps: int, rng: np.random.Generator, depth: Depth, shared: float, power: int = 1) -> dict[str, float]:
    grid, groups = decoder_grid(), np.array([0, 1])
    rejected = dict.fromkeys(("uniform", "within type", *_KINDS), 0)
    for _ in range(reps):
        own, common = score_fields(rng, (2,), depth), score_fields(rng, (1,), depth)
        scores = (type_effects(rng) + np.sqrt(1 - shared) * own + np.sqrt(shared) * common) ** power
        a, b = top_k(scores, K)
        overlap = int((a & b).sum())
        rejected["uniform"] += uniform_law(grid.n, K, K).p_value(overlap).p <= 0.05
        rejected["within type"] += law_given_strata(a, b, grid.types).p_value(overlap).p <= 0.05
        for name, (draw, k) in _KINDS.items():
            rejected[name] += surrogate_test(scores, grid, groups, rng, k=k, draws=_DRAWS, draw=draw).p <= 0.05
    return {name: count / reps for name, count in rejected.items()}


def group_nulls(reps: int, rng: np.random.Generator) -> Study:
    """Three data sets x five seeds; seeds of a data set agree, data sets do not."""
    grid, groups = decoder_grid(), np.repeat(np.arange(3), 5)
    rows, rates = [], []
    for depth in (Depth(0.0, 0.0), Depth(0.5, 0.0), Depth(0.7, 0.0), Depth(0.5, 0.3), Depth(0.7, 0.3)):
        rejected = np.zeros(2)
        for _ in range(reps):
            data = np.sqrt(0.5) * np.repeat(score_fields(rng, (3,), depth), 5, axis=0)
            scores = type_effects(rng) + data + np.sqrt(0.5) * score_fields(rng, (15,), depth)
            for column, draw in enumerate((phase_surrogates, within_type_surrogates)):
                rejected[column] += surrogate_test(scores, grid, groups, rng, k=K, draws=_DRAWS, draw=draw).p <= 0.05
        phase, within_type = (rejected / reps).tolist()
        rows.append((f"{depth.lag_one:g}", f"{depth.block:g}", percent(phase), percent(within_type)))
        rates.append(phase)
    header = ("lag-1 autocorrelation", "shared in a block", "joint Fourier phases", "within type")
    return Study(
        "Agreement of three data sets with five seeds each",
        "15 rankings of 210 modules. Seeds of one data set share half of their field variance; data sets share the "
        "type "
        "effects only. Surrogates move the runs of a data set together. Statistic: kappa at 30 %.",
        (
            Table(
                "group-nulls",
                "Rejections where data sets agree in module types only (nominal 5 %).",
                header,
                tuple(rows),
            ),
        ),
        (at_most("surrogate test of 3 data sets x 5 seeds, joint Fourier phases", rates, 0.065),),
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
        (Table("label-tests", "Rejections at nominal 5 %, one-sided, kappa at 30 %.", header, tuple(rows)),),
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
        rejected += label_permutation_test(common + data + np.sqrt(0.5) * noise, design, K, rng, draws=199).p <= 0.05
    return rejected / reps
