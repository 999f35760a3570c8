"""What published numbers allow to be said: an overlap of two sets of layers, or two accuracies on the same items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from layersig.analysis.overlap import OverlapLaw, jaccard_of_overlap, uniform_law
from layersig.analysis.power import detectable_difference_discordant
from layersig.analysis.reported import Counts
from layersig.analysis.results import BoolArray, FloatArray, IntArray, Interval


@dataclass(frozen=True)
class OverlapCheck:
    """An overlap of two sets against the chance that both were drawn at random.

    Attributes:
        n: Elements to choose from.
        size_a: Elements of the first set.
        size_b: Elements of the second set.
        shared: Numbers of shared elements that the published figure allows, at least one.
    """

    n: int
    size_a: int
    size_b: int
    shared: Counts

    @cached_property
    def law(self) -> OverlapLaw:
        """The exact law of the overlap of two sets drawn uniformly and independently."""
        return uniform_law(self.n, self.size_a, self.size_b)

    @property
    def possible(self) -> IntArray:
        """Every number of shared elements that the figure allows."""
        return np.arange(self.shared.least, self.shared.most + 1, dtype=np.int64)

    @property
    def jaccard(self) -> tuple[float, float]:
        """Least and largest Jaccard index of the possible counts."""
        ends = np.array([self.shared.least, self.shared.most], dtype=np.float64)
        low, high = jaccard_of_overlap(ends, self.size_a, self.size_b).tolist()
        return low, high

    @property
    def kappa(self) -> tuple[float, float] | None:
        """Least and largest chance-corrected overlap; None where the sizes leave no freedom."""
        ends = self.law.kappa(self.shared.least), self.law.kappa(self.shared.most)
        return None if np.isnan(ends).any() else ends

    @property
    def rest(self) -> tuple[float, float] | None:
        """Least and largest Jaccard index of the elements that were not selected; None where there are none."""
        left_a, left_b = self.n - self.size_a, self.n - self.size_b
        if left_a + left_b == 0:
            return None
        both = np.array([self.shared.least, self.shared.most], dtype=np.float64) + left_a - self.size_b
        low, high = jaccard_of_overlap(both, left_a, left_b).tolist()
        return low, high

    @cached_property
    def p(self) -> tuple[float, float]:
        """Least and largest two-sided p-value of the exact law over the possible counts."""
        found = [self.law.two_sided_p(count) for count in self.possible.tolist()]
        return min(found), max(found)

    @property
    def in_play(self) -> tuple[float, str] | None:
        """How few elements would make this overlap what chance gives, and what is drawn among them.

        The smaller sets are looked at, those selected or those left out. Where both are drawn at random among the same
        m elements, they share size_a * size_b / m on average; the m of the largest possible count is given. None where
        they share nothing.
        """
        left_a, left_b = self.n - self.size_a, self.n - self.size_b
        selected = self.size_a + self.size_b <= self.n
        a, b = (self.size_a, self.size_b) if selected else (left_a, left_b)
        both = self.shared.most if selected else self.shared.most + left_a - self.size_b
        return (a * b / both, "selected" if selected else "left out") if both > 0 else None


@dataclass(frozen=True, slots=True)
class AtDiscordance:
    """Two accuracies, were the models to differ on a given number of items.

    Attributes:
        discordant: Items that one model solves and the other does not.
        p: Largest p-value of McNemar's exact test that goes with it.
        detectable: Difference that a new pair of models of this discordance shows with 80 % power on as many items;
            None where no difference can be shown.
    """

    discordant: int
    p: float
    detectable: float | None


@dataclass(frozen=True)
class AccuracyCheck:
    """Two accuracies on the same items, of which it is not known which items each solves.

    Attributes:
        items: Items, at least two.
        first: Numbers of items that the first can have solved, at least one.
        second: Numbers of items that the second can have solved, at least one.
        discordant: Numbers of items on which they differ, where that was published.
    """

    items: int
    first: Counts
    second: Counts
    discordant: Counts | None = None

    @property
    def difference(self) -> tuple[float, float]:
        """Least and largest difference, first minus second, as a share of the items."""
        least, most = self.first.least - self.second.most, self.first.most - self.second.least
        return least / self.items, most / self.items

    def unpaired(self, level: float = 0.95) -> Interval:
        """Interval of the difference as if on different items, over all possible counts.

        Source:
            Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
        """
        low = _newcombe(self.first.least, self.second.most, self.items, level)[0]
        high = _newcombe(self.first.most, self.second.least, self.items, level)[1]
        return Interval(low, high, level)

    @property
    def independent(self) -> int:
        """Discordant items to expect of models that are right independently of each other."""
        a, b = ((each.least + each.most) / 2 / self.items for each in (self.first, self.second))
        return round(self.items * (a + b - 2 * a * b))

    @cached_property
    def possible(self) -> Counts:
        """Numbers of discordant items that go with the accuracies; empty where the published one does not."""
        least = int(np.abs(self._gaps).min())
        most = int(self._most_discordant.max())
        if self.discordant is None:
            return Counts(least, most)
        wanted = range(max(least, self.discordant.least), min(most, self.discordant.most) + 1)
        fitting = [count for count in wanted if self._fitting(count).any()]
        return Counts(fitting[0], fitting[-1]) if fitting else Counts(1, 0)

    @cached_property
    def p(self) -> tuple[float, float]:
        """Least and largest p-value of McNemar's exact test over everything that the figures allow."""
        gaps = np.abs(self._gaps)
        if self.discordant is None:
            # At a given gap, every further pair of discordant items raises the p-value.
            few, many = _exact_p(gaps, gaps), _exact_p(gaps, self._most_discordant)
            return float(few.min()), float(many.max())
        fitting = {count: self._fitting(count) for count in range(self.possible.least, self.possible.most + 1)}
        found = np.concatenate([_exact_p(gaps[fits], count) for count, fits in fitting.items() if fits.any()])
        return float(found.min()), float(found.max())

    def at(self, discordant: int, alpha: float) -> AtDiscordance | None:
        """What holds for a number of discordant items, or the next one; None where it cannot be."""
        for count in (discordant, discordant + 1):
            if (fits := self._fitting(count)).any():
                p = float(_exact_p(np.abs(self._gaps)[fits], count).max())
                return AtDiscordance(count, p, detectable_difference_discordant(count, self.items, alpha=alpha))
        return None

    def most_for(self, alpha: float) -> int | None:
        """Most discordant items with which the difference is significant at `alpha`, however the figures were rounded.

        None where no number of them makes it so.
        """
        place = int(np.abs(self._gaps).argmin())
        gap, most = abs(int(self._gaps[place])), int(self._most_discordant[place])

        def significant(losses: int) -> bool:
            return bool(_exact_p(np.array([gap]), gap + 2 * losses)[0] <= alpha)

        if not significant(0):
            return None
        low, high = 0, (most - gap) // 2
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if significant(middle) else (low, middle - 1)
        return gap + 2 * low

    @cached_property
    def _gaps(self) -> IntArray:
        """Every possible number of items that the first solves more than the second."""
        return np.arange(self.first.least - self.second.most, self.first.most - self.second.least + 1, dtype=np.int64)

    @cached_property
    def _most_discordant(self) -> IntArray:
        """By gap, the most items on which the two can differ."""
        gaps, n = self._gaps, self.items
        low = 2 * np.maximum(self.first.least, self.second.least + gaps) - gaps
        high = 2 * np.minimum(self.first.most, self.second.most + gaps) - gaps
        # Both counts together, as near to the number of items as they can be, and of the parity of the gap.
        solved = np.clip(n - (n - gaps) % 2, low, high)
        return np.asarray(np.minimum(solved, 2 * n - solved), dtype=np.int64)

    def _fitting(self, discordant: int) -> BoolArray:
        gaps = np.abs(self._gaps)
        return np.asarray((gaps <= discordant) & (discordant <= self._most_discordant) & ((gaps - discordant) % 2 == 0))


def _exact_p(gaps: IntArray, discordant: IntArray | int) -> FloatArray:
    """McNemar's exact two-sided p-value, by the gap between wins and losses and their sum."""
    losses = (discordant - gaps) // 2
    return np.asarray(np.minimum(1.0, 2 * stats.binom.cdf(losses, discordant, 0.5)), dtype=np.float64)


def _newcombe(first: int, second: int, items: int, level: float) -> tuple[float, float]:
    a, b = first / items, second / items
    (low_a, high_a), (low_b, high_b) = (_wilson(share, items, level) for share in (a, b))
    return (
        a - b - float(np.hypot(a - low_a, high_b - b)),
        a - b + float(np.hypot(high_a - a, b - low_b)),
    )


def _wilson(share: float, items: int, level: float) -> tuple[float, float]:
    z = float(stats.norm.ppf((1 + level) / 2))
    middle = share + z * z / (2 * items)
    width = z * float(np.sqrt(share * (1 - share) / items + z * z / (4 * items * items)))
    return (middle - width) / (1 + z * z / items), (middle + width) / (1 + z * z / items)
