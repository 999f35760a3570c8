"""Families of comparisons: which are declared, which are corrected together, and their p-values by Holm's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layersig.analysis.multiplicity import holm_in_sequence
from layersig.analysis.sentences import Correction

DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class Member:
    """A comparison before it is judged.

    Attributes:
        family: The tests that it is corrected with; None for what is no claim.
        p: Its p-value; None where the data allow no test.
        then: P-value of a further step, which is tested only where the first rejects; None without one.
    """

    family: str | None
    p: float | None
    then: float | None = None


def corrections(members: Sequence[Member]) -> list[Correction | None]:
    """How each comparison is corrected; None without a family or a test.

    A comparison that could not be tested still counts in its family: it was declared all the same.
    """
    return [first for first, _ in stepwise_corrections(members)]


def stepwise_corrections(members: Sequence[Member]) -> list[tuple[Correction | None, Correction | None]]:
    """The same, and how the further step of each is corrected; None without one."""
    families: dict[str, list[int]] = {}
    for place, member in enumerate(members):
        if member.family is not None:
            families.setdefault(member.family, []).append(place)
    found: list[tuple[Correction | None, Correction | None]] = [(None, None)] * len(members)
    for family, places in families.items():
        steps = [_steps(members[place]) for place in places]
        for place, adjusted in zip(places, holm_in_sequence(steps), strict=True):
            if members[place].p is not None:
                first, *then = (Correction(family == DECLARED, len(places), p) for p in adjusted)
                found[place] = first, next(iter(then), None)
    return found


def _steps(member: Member) -> list[float]:
    first = 1.0 if member.p is None else member.p
    return [first] if member.then is None else [first, member.then]
