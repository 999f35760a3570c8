"""Numbers as printed, with everything that rounds to them: which counts are compatible with them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

_PRINTED = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)\s*(?P<percent>%?)")
_LONGEST = 32


@dataclass(frozen=True, slots=True)
class Figure:
    """A printed number, not negative, and the range of values that round to it.

    Attributes:
        text: The number as it was printed.
        value: The number itself; a percentage as a share.
        step: One unit of its last printed digit.
        percent: Whether it was printed with a percent sign, or is read as a percentage.
    """

    text: str
    value: Fraction
    step: Fraction
    percent: bool = False

    @classmethod
    def read(cls, text: str) -> Figure:
        """Read a number such as `.90`, `45.78` or `45.78%`.

        Raises:
            ValueError: It is none.
        """
        found = _PRINTED.fullmatch(text.strip())
        if found is None or len(text) > _LONGEST:
            raise ValueError(
                f"{text[:_LONGEST]!r} is not a number as it is printed: digits with a point and no sign or exponent, "
                "such as .90, 45.78 or 45.78%"
            )
        number = found["number"]
        step = Fraction(1, 10 ** len(number.partition(".")[2]))
        figure = cls(text.strip(), Fraction(number), step)
        return figure.as_percent() if found["percent"] else figure

    @property
    def whole(self) -> bool:
        """Whether no decimals were printed."""
        return not self.percent and self.step == 1

    @property
    def low(self) -> Fraction:
        """Smallest value that rounds to it, whichever way halves are rounded."""
        return max(Fraction(0), self.value - self.step / 2)

    @property
    def high(self) -> Fraction:
        """Largest value that rounds to it, whichever way halves are rounded."""
        return self.value + self.step / 2

    def as_percent(self) -> Figure:
        """The same print read as a percentage."""
        return self if self.percent else Figure(self.text, self.value / 100, self.step / 100, True)


@dataclass(frozen=True, slots=True)
class Counts:
    """Whole numbers from `least` to `most`; there are none where `least` is above `most`."""

    least: int
    most: int

    def __bool__(self) -> bool:
        return self.least <= self.most

    def __len__(self) -> int:
        return max(0, self.most - self.least + 1)

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def counts_behind(figure: Figure, count: Callable[[Fraction], Fraction], smallest: int, largest: int) -> Counts:
    """The counts that give a printed number.

    Args:
        figure: The number.
        count: From a value of the statistic to the count behind it, a rising function.
        smallest: Smallest count that there can be.
        largest: Largest count that there can be.

    Source:
        Brown and Heathers 2017, "The GRIM test": a mean of whole numbers can only take some values.
    """
    return _between(count(figure.low), count(figure.high), smallest, largest)


def counts_cut(figure: Figure, count: Callable[[Fraction], Fraction], smallest: int, largest: int) -> Counts:
    """The counts behind a number whose further digits were cut off, not rounded."""
    below = figure.value + figure.step * Fraction(10**9 - 1, 10**9)
    return _between(count(figure.value), count(below), smallest, largest)


def _between(low: Fraction, high: Fraction, smallest: int, largest: int) -> Counts:
    return Counts(max(smallest, math.ceil(low)), min(largest, math.floor(high)))
