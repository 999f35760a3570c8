"""How early a ranking is there: the test of a milestone against the noise ceiling."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from layersig.analysis.jackknife import pair_mean
from layersig.analysis.milestones import in_sequence, milestone_agreement
from layersig.analysis.overlap import kuncheva
from layersig.analysis.results import FloatArray
from layersig.analysis.selections import top_k
from tests.calibration.report import Study, Table, at_least, at_most, percent
from tests.calibration.simulate import N_MODULES, Depth, K, score_fields, type_effects

_STRUCTURES = 10
_RUNS_FOR_TRUTH = 300
_LEVEL = 0.95
_SHARES = (0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    """The fixed part of a ranking, shape (210,), the noise of a run, and what milestones add to it.

    Attributes:
        fixed: What all runs share.
        depth: How noise is alike over depth and inside blocks.
        noise: Variance of what a run adds; its milestones share it.
        lost: Variance of what each milestone adds, the earliest first.
    """

    fixed: FloatArray
    depth: Depth
    noise: float
    lost: tuple[float, ...]

    def runs(self, rng: np.random.Generator, seeds: int) -> tuple[list[FloatArray], FloatArray]:
        """Scores at every milestone and at the end, each of shape (seeds, 210)."""
        end = self.fixed + np.sqrt(self.noise) * score_fields(rng, (seeds,), self.depth)
        own = [np.sqrt(lost) * score_fields(rng, (seeds,), self.depth) for lost in self.lost]
        return [end + each for each in own], end


def milestone_levels(reps: int, rng: np.random.Generator) -> Study:
    """False claims where milestones keep exactly the required share, and power where they keep more."""
    rows, wrong, found = [], [], []
    for (lag, block), noise in product(((0.0, 0.0), (0.5, 0.3)), (0.2, 1.0)):
        depth = Depth(lag, block)
        made = {share: [_at_share(rng, depth, noise, share) for _ in range(_STRUCTURES)] for share in _SHARES}
        for seeds in (5, 8):
            rates = [
                float(np.mean([_claims(rng, each[rep % _STRUCTURES], seeds) for rep in range(reps)]))
                for each in made.values()
            ]
            rows.append((str(seeds), f"{lag:g}, {block:g}", f"{noise:g}", *map(percent, rates)))
            wrong.append(rates[0])
            found.append(rates[-1])
    return Study(
        "Milestones: does the agreement reach .9 of the ceiling?",
        f"Two milestones, kappa of the top {K} of {N_MODULES}. A milestone shares the noise of its run and adds some "
        "of its own, so that it keeps a given share of the ceiling. Rates: some milestone is said to reach .9 of it. "
        "Noise: variance of a run beside a signal of variance 1.5.",
        (
            Table(
                "milestones",
                "Test of milestones at one-sided 5 %.",
                ("seeds", "lag-1, block", "noise", "error, share .9", "power, share .95", "power, share 1"),
                tuple(rows),
            ),
        ),
        (
            at_most("a milestone at .9 of the ceiling is said to reach it (5 and 8 seeds)", wrong, 0.06),
            at_least("a milestone that keeps the whole ceiling is said to reach it (5 and 8 seeds)", found, 0.8),
        ),
    )


def _claims(rng: np.random.Generator, training: _Training, seeds: int) -> bool:
    early, end = training.runs(rng, seeds)
    tests = [milestone_agreement(each, end, K, _SHARES[0], _LEVEL).p_value(_LEVEL) for each in reversed(early)]
    return any(p is not None and p <= 1 - _LEVEL for p in in_sequence(tests))


def _at_share(rng: np.random.Generator, depth: Depth, noise: float, share: float) -> _Training:
    """A training whose milestones keep a share of the ceiling, found by bisection."""
    fixed = type_effects(rng) + np.sqrt(0.5) * score_fields(rng, (1,), depth)[0]
    end = fixed + np.sqrt(noise) * score_fields(rng, (_RUNS_FOR_TRUTH,), depth)
    own = score_fields(rng, (_RUNS_FOR_TRUTH,), depth)
    low, high = 0.0, 4.0 if share < 1 else 0.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(end + np.sqrt(middle) * own, end) > share else (low, middle)
    return _Training(fixed, depth, noise, ((low + high) / 2,) * 2)


def _share(early: FloatArray, end: FloatArray) -> float:
    pairs = ~np.eye(len(end), dtype=np.bool_)
    a, b = (top_k(scores, K).astype(np.float64) for scores in (early, end))
    crossed, own = (kuncheva(each @ b.T, end.shape[1], K) for each in (a, b))
    return float(crossed[pairs].mean()) / pair_mean(own, pairs)
