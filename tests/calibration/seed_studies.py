"""What the seeds of one ranking show: agreement above chance, and which ranks single layers may hold."""

import numpy as np

from layersig.analysis.ceiling import noise_ceiling, residual_ceiling
from layersig.analysis.rank_intervals import rank_intervals_seeds
from layersig.analysis.results import FloatArray
from tests.calibration.report import Study, Table, at_most, percent
from tests.calibration.simulate import Depth, K, decoder_grid, score_fields, type_effects

_ALPHA = 0.05
_SEEDS = (3, 5, 8)
_FEWER = 5
"""Rank sets compare 21,945 pairs of layers: they get a fifth of the experiments."""
_DEPTHS = (Depth(0.0, 0.0), Depth(0.5, 0.3), Depth(0.9, 0.3))


def ceilings(reps: int, rng: np.random.Generator) -> Study:
    """Tests that seeds agree above chance, and that they agree beyond module type and depth."""
    grid = decoder_grid()
    rows, errors = [], []
    for depth in _DEPTHS:
        for seeds in _SEEDS:
            nothing = [noise_ceiling(_runs(rng, seeds, depth, 0.0), K).p for _ in range(reps)]
            power = [noise_ceiling(_runs(rng, seeds, depth, 0.3), K).p for _ in range(reps)]
            typed, known = (
                [
                    residual_ceiling(type_effects(rng) + _fields(rng, seeds, depth, share), grid.types, grid.depths).p
                    for _ in range(reps)
                ]
                for share in (0.0, 0.3)
            )
            rates = [_rate(p) for p in (nothing, power, typed, known)]
            errors.append((rates[0], rates[2]))
            rows.append((str(seeds), f"{depth.lag_one}, {depth.block}", *map(percent, rates)))
    return Study(
        "Do the seeds of one ranking agree?",
        "Rankings of 210 modules, kappa at 30 %. No agreement: every run has type effects (variance 1) and a field "
        "(variance 1) of its own. Agreement: 30 % of the variance of both is common. Type alone: type effects are "
        "common, fields are not; then 30 % of the variance of the fields is common too.",
        (
            Table(
                "ceilings",
                "Rejections at one-sided 5 %.",
                (
                    "seeds",
                    "lag-1, block",
                    "above chance: no agreement",
                    "above chance: agreement",
                    "beyond type and depth: type alone",
                    "beyond type and depth: fields too",
                ),
                tuple(rows),
            ),
        ),
        (
            at_most("seeds called to agree above chance that do not", [error for error, _ in errors], 0.065),
            at_most("seeds called to agree on single layers that do not", [error for _, error in errors], 0.065),
        ),
    )


def layer_ranks(reps: int, rng: np.random.Generator) -> Study:
    """Simultaneous rank sets of layers: how often one of them is wrong, and how wide they are."""
    rows, errors, times = [], [], max(4, reps // _FEWER)
    for seeds in (5, 8):
        for tails in (None, 5):
            for depth in _DEPTHS[:2]:
                found = [_rank_errors(rng, seeds, tails, depth) for _ in range(times)]
                wrong, apart, width = (float(np.mean(each)) for each in zip(*found, strict=True))
                errors += [wrong, apart]
                spread = "equal" if tails is None else f"inverse chi-square, {tails} df"
                where = (str(seeds), spread, f"{depth.lag_one}, {depth.block}")
                rows.append((*where, percent(wrong), percent(apart), f"{width:.0f}"))
    return Study(
        "Which ranks may single layers hold?",
        "Rankings of 210 modules. Layers differ: a common ranking of variance 1 and noise of runs of variance .2, "
        "whose size is the same for every layer or is not. All alike: noise alone, so that no layer may be set apart. "
        f"{times} experiments a row.",
        (
            Table(
                "layer-ranks",
                "A set of any layer leaves out its rank, nominal 5 %; mean width of a set, of 210.",
                ("seeds", "variance of layers", "lag-1, block", "layers differ", "all alike", "width"),
                tuple(rows),
            ),
        ),
        (at_most("simultaneous rank sets of 210 layers", errors, 0.065),),
    )


def _runs(rng: np.random.Generator, seeds: int, depth: Depth, share: float) -> FloatArray:
    """Runs that have a share of their variance in common, in type effects as in fields."""
    types = np.sqrt(1 - share) * np.stack([type_effects(rng) for _ in range(seeds)])
    return np.asarray(np.sqrt(share) * type_effects(rng) + types + _fields(rng, seeds, depth, share))


def _fields(rng: np.random.Generator, seeds: int, depth: Depth, share: float) -> FloatArray:
    own = np.sqrt(1 - share) * score_fields(rng, (seeds,), depth)
    return np.asarray(np.sqrt(share) * score_fields(rng, (1,), depth) + own)


def _rate(p: list[float | None]) -> float:
    return float(np.mean([each is not None and each <= _ALPHA for each in p]))


def _rank_errors(rng: np.random.Generator, seeds: int, tails: int | None, depth: Depth) -> tuple[bool, bool, float]:
    """Whether a true rank lies outside its set, whether noise alone sets a layer apart, and the mean width."""
    effects = type_effects(rng) + score_fields(rng, (1,), depth)[0]
    effects = (effects - effects.mean()) / effects.std()
    size = np.ones(effects.size) if tails is None else np.sqrt(tails / rng.chisquare(tails, size=effects.size))
    noise = [np.sqrt(0.2) * size * score_fields(rng, (seeds,), depth) for _ in range(2)]
    ranks = (-effects).argsort().argsort() + 1
    sets = rank_intervals_seeds(effects + noise[0], _ALPHA)
    wrong = any(not each.best <= rank <= each.worst for each, rank in zip(sets, ranks, strict=True))
    alike = rank_intervals_seeds(noise[1], _ALPHA)
    apart = any((each.best, each.worst) != (1, effects.size) for each in alike)
    return wrong, apart, float(np.mean([each.worst - each.best + 1 for each in sets]))
