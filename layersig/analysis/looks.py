"""Tests that are repeated as runs are added: how often they err, and how a level is spent on declared looks.

Everything rests on one fact: with n_1 < n_2 < ... runs, statistics that are normal at every look are correlated by
sqrt(n_i / n_j). Where looks share more than runs, such as the items of an evaluation, they are correlated more, and
crossing a boundary at any of them is less likely than computed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from layersig.analysis.results import Alternative, Effect, FloatArray, Interval

_NODES = 200
_FARTHEST = 9.0
_MOST_BOUND = 37.0
"""A bound of |Z| that nothing exceeds."""
_LEAST_MASS = 1e-280


class Spending(StrEnum):
    """How much of the level may be spent once a share t of the runs has been made (Lan and DeMets 1983)."""

    OBRIEN_FLEMING = "obrien-fleming"
    """2 - 2 Phi(z / sqrt(t)) on each side: next to nothing early, and nearly the whole level for the last look."""
    POCOCK = "pocock"
    """alpha log(1 + (e - 1) t): about the same level at every look."""

    def spent(self, alpha: float, share: float) -> float:
        """The part of `alpha` that is spent."""
        if self is Spending.POCOCK:
            return float(alpha * np.log1p((np.e - 1) * share))
        return float(4 * stats.norm.sf(stats.norm.isf(alpha / 4) / np.sqrt(share)))


@dataclass(frozen=True, slots=True)
class Look:
    """One look of a declared group-sequential design, and the tests that belong to it.

    Attributes:
        runs: Number of training runs at every look of the design, ascending.
        number: Which look this is, from 1.
        spending: How the level is spent.
    """

    runs: tuple[int, ...]
    number: int
    spending: Spending = Spending.OBRIEN_FLEMING

    @property
    def shares(self) -> tuple[float, ...]:
        """Information at every look, over that of the last: runs over planned runs."""
        return tuple(runs / self.runs[-1] for runs in self.runs)

    def spent(self, alpha: float) -> float:
        """The level that is spent up to this look, this one included."""
        return self.spending.spent(alpha, self.shares[self.number - 1])

    def bound(self, alpha: float) -> float:
        """The boundary that |Z| has to reach at this look, where all looks together err in `alpha` of studies."""
        return _bounds(self.runs[: self.number], self.runs[-1], self.spending, alpha)[-1]

    def level(self, alpha: float) -> float:
        """The level of a single test at this look, where all looks together err in `alpha` of studies."""
        return float(2 * stats.norm.sf(self.bound(alpha))) if 0 < alpha < 1 else alpha

    def p_value(self, p: float) -> float:
        """The smallest overall level at which the boundary of this look is reached: a p-value that allows for looks.

        It may be corrected for several tests like any other; a design whose tests are corrected at every look by the
        level of a single test would err more often.

        Args:
            p: P-value of a single test at this look. A one-sided one may be given too: the boundary of both sides
                errs less often on one of them.

        Source:
            Liu and Anderson 2008, "On adaptive extensions of group sequential trials" (sequential p-values); for
            several tests Maurer and Bretz 2013, "Multiple testing in group sequential trials using graphical
            approaches".
        """
        return _overall(self, p) if 0 < p < 1 else p


@dataclass(frozen=True, slots=True)
class EffectAtLook:
    """An effect whose tests and intervals allow for the looks of a design: an `Effect`.

    Its intervals cover the truth at all looks together (Jennison and Turnbull 1989, repeated confidence intervals).
    """

    effect: Effect
    look: Look

    @property
    def value(self) -> float:
        """The value."""
        return self.effect.value

    @property
    def se(self) -> float:
        """Its standard error."""
        return self.effect.se

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error."""
        return self.effect.df

    def interval(self, level: float = 0.95) -> Interval:
        """Two-sided interval, with the coverage that holds at all looks together."""
        found = self.effect.interval(1 - self.look.level(1 - level))
        return Interval(found.low, found.high, level)

    def p_value(self, null: float = 0.0, alternative: Alternative = Alternative.TWO_SIDED) -> float:
        """P-value that allows for the looks."""
        return self.look.p_value(self.effect.p_value(null, alternative))

    def mirrored(self) -> "EffectAtLook":
        """The same effect with its sign changed."""
        return EffectAtLook(self.effect.mirrored(), self.look)


def repeated_level(alpha: float, runs: Sequence[int]) -> float:
    """How often two-sided tests at `alpha`, one at every number of runs, reject a true null at least once.

    Args:
        alpha: Level of each test.
        runs: Number of runs at each look, ascending; later looks hold the runs of the earlier ones.

    Returns:
        The rate for statistics with a normal law.

    Raises:
        ValueError: The numbers do not ascend.

    Source:
        Armitage, McPherson and Rowe 1969, "Repeated significance tests on accumulating data".
    """
    bound = float(stats.norm.isf(alpha / 2))
    walk, rate = _Walk(), 0.0
    for total in runs:
        walk.step(total)
        rate += walk.beyond(bound)
        walk.stop(bound)
    return rate


class _Walk:
    """The sum of runs with a standard normal law, on the paths that have not crossed a boundary yet."""

    def __init__(self) -> None:
        # Mass at 0 before the first run.
        self._at, self._mass = np.zeros(1), np.ones(1)
        self._runs = self._step = 0

    def step(self, runs: int) -> None:
        """Add runs up to this number."""
        if runs <= self._runs:
            raise ValueError(f"looks are taken at growing numbers of runs, got {runs} after {self._runs}")
        self._runs, self._step = runs, runs - self._runs

    def beyond(self, bound: float) -> float:
        """Probability that |Z| exceeds a bound now, and has exceeded none before."""
        end, spread = bound * np.sqrt(self._runs), np.sqrt(self._step)
        above, below = (end - self._at) / spread, (-end - self._at) / spread
        return float(self._mass @ (special.ndtr(-above) + special.ndtr(below)))

    def stop(self, bound: float) -> None:
        """End the paths that exceed a bound now."""
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        end = min(bound, _FARTHEST) * np.sqrt(self._runs)
        inside = end * nodes
        density = self._mass @ _normal_density(inside[None, :] - self._at[:, None], float(np.sqrt(self._step)))
        self._at, self._mass = inside, density * end * weights


def _normal_density(away: FloatArray, spread: float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * (away / spread) ** 2) / (spread * np.sqrt(2 * np.pi)))


@lru_cache(maxsize=4096)
def _bounds(runs: tuple[int, ...], planned: int, spending: Spending, alpha: float) -> tuple[float, ...]:
    """Boundaries of |Z| that spend `alpha` as planned: at every look, what is spent by then less what was before."""
    walk, before, bounds = _Walk(), 0.0, []
    for total in runs:
        walk.step(total)
        spent = spending.spent(alpha, total / planned)
        bounds.append(_reached(walk, spent - before))
        walk.stop(bounds[-1])
        before = spent
    return tuple(bounds)


def _reached(walk: _Walk, mass: float) -> float:
    """The bound that this mass exceeds now; no bound where nothing is spent that a number can hold."""
    if mass >= walk.beyond(0.0):
        return 0.0
    if mass <= max(walk.beyond(_MOST_BOUND), _LEAST_MASS):
        return _MOST_BOUND
    return float(optimize.brentq(lambda bound: walk.beyond(bound) - mass, 0.0, _MOST_BOUND, xtol=1e-12, rtol=1e-12))


@lru_cache(maxsize=4096)
def _overall(look: Look, p: float) -> float:
    def away(alpha: float) -> float:
        return float(np.log(look.level(alpha) / p))

    # A single test at this look errs at most as often as all looks together, so the overall level is p or more.
    least, most = max(p, _LEAST_MASS), 1 - 1e-12
    if away(least) >= 0:
        return p
    if away(most) <= 0:
        return 1.0
    return float(np.exp(optimize.brentq(lambda log: away(float(np.exp(log))), np.log(least), np.log(most), xtol=1e-9)))
