"""Families of comparisons: which are declared, which are corrected together, and their p-values by Holm's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layersig.analysis.multiplicity import holm
from layersig.analysis.sentences import Correction

DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class Member:
    """A comparison before it is judged.

    Attributes:
        family: The tests that it is corrected with; None for what is no claim.
        p: Its p-value; None where the data allow no test.
    """

    family: str | None
    p: float | None


def corrections(members: Sequence[Member]) -> list[Correction | None]:
    """How each comparison is corrected; None without a family or a test.

    A comparison that could not be tested still counts in its family: it was declared all the same.
    """
    families: dict[str, list[int]] = {}
    for place, member in enumerate(members):
        if member.family is not None:
            families.setdefault(member.family, []).append(place)
    found: list[Correction | None] = [None] * len(members)
    for family, places in families.items():
        values = [members[place].p for place in places]
        adjusted = holm(np.array([1.0 if p is None else p for p in values]))
        for place, p, corrected in zip(places, values, adjusted, strict=True):
            if p is not None:
                found[place] = Correction(family == DECLARED, len(places), float(corrected))
    return found
