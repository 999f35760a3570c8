"""Adjusted p-values for families of tests."""

from collections.abc import Hashable, Sequence

import numpy as np

from layersig.analysis.results import FloatArray


def holm(p: FloatArray) -> FloatArray:
    """Holm's adjusted p-values: "on some task", any dependence.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    _check_p(p)
    order = np.argsort(p)
    stepped = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def holm_in_sequence(sequences: Sequence[Sequence[float]]) -> list[list[float]]:
    """Holm's adjusted p-values where a member is a sequence of tests, each made only where the one before it rejects.

    A sequence counts among those that are left until its last test rejects: what is spent on it goes to its next test
    first, and only then to the other members. With sequences of one test this is Holm's method.

    Args:
        sequences: P-values of each member, in the order in which they are tested; at least one each.

    Source:
        Bretz, Maurer, Brannath and Posch 2009, "A graphical approach to sequentially rejective multiple test
        procedures": equal weights, passed on within a sequence, then shared out among the others.
    """
    adjusted: list[list[float]] = [[] for _ in sequences]
    left, largest = set(range(len(sequences))), 0.0
    while left:
        member = min(left, key=lambda each: (sequences[each][len(adjusted[each])], each))
        largest = max(largest, min(1.0, len(left) * sequences[member][len(adjusted[member])]))
        adjusted[member].append(largest)
        if len(adjusted[member]) == len(sequences[member]):
            left.remove(member)
    return adjusted


def holm_of_tested(p: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's adjusted p-values of a family in which some members allow no test; those stay None and count for none."""
    known = np.array([each for each in p if each is not None])
    adjusted = iter(holm(known).tolist() if known.size else ())
    return tuple(None if each is None else next(adjusted) for each in p)


def holm_by_family(p: Sequence[float | None], families: Sequence[Hashable]) -> tuple[float | None, ...]:
    """The same for several families: each test is corrected with those of its own.

    Args:
        p: P-values; None where no test was possible.
        families: The family of each.
    """
    adjusted = {
        family: iter(holm_of_tested([each for each, own in zip(p, families, strict=True) if own == family]))
        for family in set(families)
    }
    return tuple(next(adjusted[family]) for family in families)


def benjamini_hochberg(p: FloatArray) -> FloatArray:
    """Benjamini and Hochberg's adjusted p-values: what is rejected at q is wrong in a share of q on average.

    For sweeps, in which single false alarms are bearable; it holds for independent and for positively dependent tests.

    Source:
        Benjamini and Hochberg 1995, "Controlling the false discovery rate"; for dependence Benjamini and Yekutieli
        2001, "The control of the false discovery rate in multiple testing under dependency", theorem 1.2.
    """
    _check_p(p)
    order = np.argsort(p)[::-1]
    stepped = np.minimum.accumulate(p.size / np.arange(p.size, 0, -1) * p[order])
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def intersection_union(p: FloatArray) -> float:
    """P-value of "on every task": the largest p, without correction (Berger 1982)."""
    _check_p(p)
    return float(p.max())


def _check_p(p: FloatArray) -> None:
    if p.ndim != 1 or p.size == 0 or not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError("p-values must form a non-empty vector with values between 0 and 1")
