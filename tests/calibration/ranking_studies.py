"""Agreement of rankings on the shapes that they really have: trends, odd ends, ties, shared seeds, unequal noise."""

import numpy as np

from layersig.analysis.agreement import RunDesign, label_permutation_test
from layersig.analysis.attenuation import corrected_between
from layersig.analysis.components import variance_components
from layersig.analysis.identity import identity_gain, residual_agreement
from layersig.analysis.overlap import jaccard_matrix, pairwise_kappa, relabelling_tests
from layersig.analysis.results import Alternative, FloatArray
from layersig.analysis.selections import membership
from layersig.analysis.surrogates import residuals, surrogate_test
from layersig.findings.rankings import ScoreTable
from layersig.records import Cell
from layersig.topics.stability.pairs import RunPairs
from tests.calibration.depth_studies import DRAWS
from tests.calibration.profile_studies import ONE_PAIR, grid_interior
from tests.calibration.report import Study, Table, at_least, at_most, percent
from tests.calibration.simulate import BLOCKS, N_MODULES, TYPES, Depth, K, decoder_grid, score_fields, type_effects

_SMOOTH = Depth(0.5, 0.3)


def single_layers(reps: int, rng: np.random.Generator) -> Study:
    """What identity gain and the residual agreement say of rankings that know more or less of single layers."""
    reps = min(reps, 1000)
    grid = decoder_grid()
    depth = np.repeat(np.linspace(-1, 1, BLOCKS), TYPES)
    rows, false = [], []
    for variance, seeds, noise in (
        *((0.0, seeds, kind) for seeds in (3, 5, 8) for kind in (Depth(0.0, 0.0), _SMOOTH)),
        *((variance, 5, Depth(0.0, 0.0)) for variance in (0.1, 0.2, 0.5)),
    ):
        design = RunDesign(np.zeros(seeds, dtype=np.int64))
        gains, below, known, shown = [], 0, [], 0
        for _ in range(reps):
            fixed = type_effects(rng) + rng.standard_normal() * depth
            fixed = fixed + np.sqrt(variance) * rng.standard_normal(N_MODULES)
            scores = fixed + np.sqrt(0.5) * score_fields(rng, (seeds,), noise)
            gain = identity_gain(scores, design, K, grid.types, grid.depths)
            agreement = residual_agreement(scores, design, grid.types, grid.depths)
            gains.append(gain.value)
            below += gain.interval().high < 0
            known.append(agreement.value)
            shown += agreement.lower_bound() > 0
        rows.append((f"{variance:g}", str(seeds), f"{noise.lag_one:g}, {noise.block:g}", f"{np.mean(gains):+.3f}",
                     percent(below / reps), f"{np.mean(known):+.2f}", percent(shown / reps)))  # fmt: skip
        if variance == 0:
            false.append(shown / reps)
    header = ("variance of single layers", "seeds", "lag-1, block of the noise", "identity gain",
              "its interval below 0", "residual agreement", "its bound above 0")  # fmt: skip
    return Study(
        "Do runs know single layers?",
        "Type effects (variance 1), a linear trend of random slope, single layers with the given variance, noise of "
        "runs of variance .5. Identity gain compares two predictors, so its value is below 0 where nothing is known of "
        "single layers and also where much is; the residual agreement is 0 where nothing is known. One-sided 5 % "
        "bounds.",
        (Table("single-layers", "Means, and shares of studies.", header, tuple(rows)),),
        (at_most("residual agreement shown where runs share type and smooth depth alone", false, 0.07),),
    )


def ties(reps: int, rng: np.random.Generator) -> Study:
    """Independent rankings in which many scores are equal."""
    reps = max(20, reps // 4)
    grid = decoder_grid()
    where = grid_interior(BLOCKS, TYPES)
    rows, held, kappas = [], [], []
    for equal in (0.5, 0.8):
        for k in (K, 158):
            rejected, kappa = np.zeros(3), 0.0
            for _ in range(reps):
                scores = np.where(rng.random((2, N_MODULES)) < equal, 0.0, rng.random((2, N_MODULES)))
                kappa += pairwise_kappa(membership(scores, k))[0, 1]
                rejected[:2] += np.array(relabelling_tests(*scores, k, grid.types, rng)) <= 0.05
                one, other = (residuals(each[None], where) for each in scores)
                rejected[2] += surrogate_test(one, other, ONE_PAIR, rng, draws=DRAWS).p <= 0.05
            rates = (rejected / reps).tolist()
            rows.append((percent(equal), str(k), f"{kappa / reps:+.3f}", *map(percent, rates)))
            held += rates
            kappas.append(abs(kappa / reps))
    return Study(
        "Independent rankings with equal scores",
        "Two rankings of 210 modules without any structure, a share of whose scores is 0. Equal scores say nothing of "
        "which of them belongs in the top k: overlaps are expected over random tie-breaking, p-values averaged over "
        f"it, which makes them conservative. {reps} repetitions.",
        (
            Table(
                "ties",
                "Mean kappa, and rejections at nominal 5 %.",
                ("equal scores", "k of 210", "mean kappa", "uniform", "within type", "residuals"),
                tuple(rows),
            ),
        ),
        (at_most("tests of two rankings with half or more equal scores", held, 0.07),
         at_most("mean kappa of independent rankings with equal scores", kappas, 0.02)),
    )  # fmt: skip


def jaccard_intervals(reps: int, rng: np.random.Generator) -> Study:
    """Coverage of the Jaccard index of runs, of two rankings and of one with itself, and the noise ceiling."""
    rows, held, beyond = [], [], []
    for seeds in (3, 5, 8):
        for shared in (0.0, 0.5, 0.9):
            covered, excess, used = np.zeros(4), [], 0
            truths = _structures(rng)
            for repetition in range(reps):
                fixed, truth, ceiling = truths[repetition % len(truths)]
                a, b, twin = _tables(rng, fixed, seeds, shared)
                for place, (pairs, goal) in enumerate(((RunPairs(a, b), truth), (RunPairs(a, a), ceiling))):
                    index = jaccard_matrix(pairs.a.scores, pairs.b.scores, K)
                    estimate = pairs.estimate(index)
                    drawn = pairs.bootstrap(index, rng, 199, 0.95)
                    assert estimate is not None
                    assert drawn is not None
                    covered[place] += estimate.interval().contains(goal)
                    covered[2 + place] += drawn.contains(goal)
                twins = RunPairs(a, twin)
                excess.append(twins.mean(jaccard_matrix(a.scores, twin.scores, K)) - ceiling)
                used += 1
            rates = (covered / used).tolist()
            rows.append((str(seeds), f"{shared:g}", *map(percent, rates), f"{np.mean(excess):+.4f}"))
            held += rates[:2]
            beyond.append(abs(float(np.mean(excess))))
    header = ("seeds", "noise shared by a seed", "jackknife, two scorers", "jackknife, one with itself",
              "bootstrap, two scorers", "bootstrap, one with itself", "equal scorers less the ceiling")  # fmt: skip
    return Study(
        "Jaccard index of runs",
        "Two scorers of 210 modules (lag-1 .5, shared in a block .3) that read the same trainings: a share of the "
        "noise of a run (variance .5) belongs to the seed. The truth is the expected Jaccard index at 30 % of runs of "
        "different seeds. Last column: two scorers that are the same but for noise of their own, against the noise "
        "ceiling of one of them. The bootstrap draws seeds with replacement (199 draws).",
        (Table("jaccard-intervals", "Coverage of nominal 95 % intervals.", header, tuple(rows)),),
        (at_least("jackknife interval of the Jaccard index of runs, 3 seeds or more", held, 0.93),
         at_most("two equal scorers above their noise ceiling (Jaccard index)", beyond, 0.01)),
    )  # fmt: skip


def _structures(rng: np.random.Generator, count: int = 10, runs: int = 300) -> list[tuple[FloatArray, float, float]]:
    """Fixed parts of two scorers, the true Jaccard index of their runs, and that of two runs of the first."""
    made = []
    for _ in range(count):
        common = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), _SMOOTH)
        fixed = common + np.sqrt(0.2) * score_fields(rng, (2,), _SMOOTH)
        noisy = fixed[:, None] + np.sqrt(0.5) * score_fields(rng, (2, runs), _SMOOTH)
        between = jaccard_matrix(noisy[0], noisy[1], K).mean()
        within = jaccard_matrix(noisy[0], noisy[0], K)[~np.eye(runs, dtype=np.bool_)].mean()
        made.append((fixed, float(between), float(within)))
    return made


def _tables(rng: np.random.Generator, fixed: FloatArray, seeds: int, shared: float) -> list[ScoreTable]:
    training = np.sqrt(0.5 * shared) * score_fields(rng, (seeds,), _SMOOTH)
    made = []
    for number, part in enumerate((fixed[0], fixed[1], fixed[0])):
        scores = part + training + np.sqrt(0.5 * (1 - shared)) * score_fields(rng, (seeds,), _SMOOTH)
        made.append(ScoreTable(Cell(scorer=f"scorer {number}"), "made", tuple(range(seeds)), scores, 0))
    return made


def differences(reps: int, rng: np.random.Generator) -> Study:
    """Do data sets rank layers differently? Equal structure with noise of equal and of unequal size."""
    reps = max(20, reps // 2)
    rows, held, exchangeable = [], [], []
    for data_sets, seeds in ((2, 5), (2, 6), (2, 8), (3, 3), (3, 5)):
        cells, numbers = np.repeat(np.arange(data_sets), seeds), np.tile(np.arange(seeds), data_sets)
        design = RunDesign(cells, numbers)
        unequal, equal = np.ones(data_sets), np.full(data_sets, 0.5)
        unequal[0] = 0.15
        found = [
            _difference_rates(reps, rng, design, noise, own, rows_of)
            for noise, own, rows_of in ((equal, 0.0, 0.0), (unequal, 0.0, 0.0), (equal, 0.05, 0.0), (equal, 0.0, 0.05))
        ]
        test = label_permutation_test(score_fields(rng, (1,), _SMOOTH) + score_fields(rng, (cells.size,), _SMOOTH),
                                      design, rng, draws=199)  # fmt: skip
        least = "" if test is None else f"{test.least:.3f}"
        rows.append((f"{data_sets} x {seeds}", least, *(f"{percent(p)} / {percent(q)}" for p, q in found)))
        held += [found[0][0], found[1][0]]
        exchangeable.append(found[0][1])
    header = ("data sets x seeds", "least p, relabelling", "equal noise", "noise variance .15 and 1",
              "own fields of variance .05", "samples of rows, variance .05")  # fmt: skip
    return Study(
        "Do data sets rank layers differently?",
        "Type effects, a common field of variance .5, noise of runs of variance .5 or as given, half of it the seed's. "
        "Each cell: the correlation between data sets, corrected for the noise of each, below 1 (jackknife t) / "
        "relabelling of whole runs within seeds. Last column: data sets are samples of rows of one source that all "
        "seeds of a sample see; both tests find that, since they speak of these samples. "
        f"{reps} repetitions.",
        (Table("differences", "Rejections at nominal 5 %, one-sided.", header, tuple(rows)),),
        (at_most("corrected correlation below 1 where data sets differ in noise alone", held, 0.07),
         at_most("relabelling of runs where data sets are exchangeable", exchangeable, 0.07)),
    )  # fmt: skip


def _difference_rates(
    reps: int, rng: np.random.Generator, design: RunDesign, noise: FloatArray, own: float, sample: float
) -> tuple[float, float]:
    assert design.seeds is not None
    cells, count = design.cells, int(design.cells.max()) + 1
    rejected = np.zeros(2)
    for _ in range(reps):
        seeds = np.sqrt(0.5) * score_fields(rng, (int(design.seeds.max()) + 1,), _SMOOTH)[design.seeds]
        runs = np.sqrt(noise)[cells, None] * (seeds + np.sqrt(0.5) * score_fields(rng, (cells.size,), _SMOOTH))
        fixed = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), _SMOOTH)
        scores = fixed + np.sqrt(own + sample) * score_fields(rng, (count,), _SMOOTH)[cells] + runs
        corrected = corrected_between(scores, design)
        rejected[0] += corrected is not None and corrected.p_value(1.0, Alternative.LESS) <= 0.05
        labels = label_permutation_test(scores, design, rng, draws=199)
        rejected[1] += labels is not None and labels.p <= 0.05
    p, q = (rejected / reps).tolist()
    return p, q


def depth_profiles(reps: int, rng: np.random.Generator) -> Study:
    """Is noise that the types of a block share taken for a common profile over depth?"""
    reps = max(20, reps // 4)
    grid = decoder_grid()
    rows, false = [], []
    for data_sets, seeds in ((1, 3), (1, 5), (2, 3), (3, 5), (5, 3), (8, 5)):
        line = [f"{data_sets} x {seeds}"]
        for profile in (0.0, 0.5):
            shares, shown = [], 0
            for _ in range(reps):
                scores = _blockwise(rng, data_sets, seeds, profile)
                parts = variance_components(grid.fields(scores)[:, None, :, None], data_sets > 1)
                (part,) = (each for each in parts if each.name == "depth")
                shares.append(part.share)
                shown += part.interval is not None and part.interval.low > 0
            line += [percent(float(np.mean(shares))), percent(shown / reps)]
            if profile == 0:
                false.append(shown / reps)
        rows.append(tuple(line))
    header = ("data sets x seeds", "share of depth, no profile", "interval above 0", "share of depth, profile .5",
              "interval above 0")  # fmt: skip
    return Study(
        "Components of variance: a common profile over depth",
        "Type effects and single layers (variance .5, independent between types); noise of data sets (.2), seeds "
        "(.2) and runs (.5), .6 of each shared by the types of a block, lag-1 .5. A profile over depth of the given "
        f"variance that all runs share, or none. {reps} repetitions.",
        (Table("depth-profiles", "Mean share, and intervals that leave out 0.", header, tuple(rows)),),
        (at_most("interval of the depth component leaves out 0 without a common profile", false, 0.07),),
    )


def _blockwise(rng: np.random.Generator, data_sets: int, seeds: int, profile: float) -> FloatArray:
    noise = Depth(0.5, 0.6)
    fixed = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), Depth(0.5, 0.0))[0]
    common = np.sqrt(profile) * np.repeat(rng.standard_normal(BLOCKS), TYPES)
    scores = fixed + common + np.sqrt(0.5) * score_fields(rng, (data_sets, seeds), noise)
    if data_sets > 1:
        scores = scores + np.sqrt(0.2) * score_fields(rng, (data_sets, 1), noise)
        scores = scores + np.sqrt(0.2) * score_fields(rng, (1, seeds), noise)
    return np.asarray(scores)
