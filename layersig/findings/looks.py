"""Looks at the results of a study: those that are declared, and what must be said of others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from layersig.analysis.looks import Look, Spending, repeated_level
from layersig.recipe.schema import LooksSettings


def look_of(declared: LooksSettings | None, seeds: int) -> Look | None:
    """The declared look with so many seeds; None where none is declared."""
    if declared is None or seeds not in declared.seeds:
        return None
    return Look(declared.seeds, declared.seeds.index(seeds) + 1, Spending(declared.spending))


def as_declared(declared: LooksSettings | None, seeds: Sequence[int], looks: Sequence[Sequence[int]]) -> bool:
    """Whether this look and those before it are looks of the declared design, each with the seeds of the one before."""
    sets = [set(look) for look in (*looks, seeds)]
    return (
        declared is not None
        and all(len(each) in declared.seeds for each in sets)
        and all(before < after for before, after in pairwise(sets))
    )


def look_sentence(seeds: Sequence[int], looks: Sequence[Sequence[int]], alpha: float) -> str | None:
    """A sentence on earlier looks at results of the same study with other seeds; None where there was none.

    Args:
        seeds: Seeds of this run.
        looks: Seeds at each earlier look, in the order in which they were taken.
        alpha: Level of a test.
    """
    if not looks:
        return None
    times = "1 look" if len(looks) == 1 else f"{len(looks)} looks"
    known = "; ".join(_listed(look) for look in looks)
    added = sorted(set(seeds).difference(*looks))
    dropped = sorted({seed for look in looks for seed in look} - set(seeds))
    changes = [f"{_named(added)} added after" if added else "", f"{_named(dropped)} left out after" if dropped else ""]
    said = " and ".join(change for change in changes if change) or "the choice of seeds was made after"
    sentence = f"{said[0].upper()}{said[1:]} {times} at results of this study (seeds {known}). "
    sentence += "Intervals and p-values do not allow for a decision that depended on what was seen"
    nested = [set(look) for look in (*looks, seeds)]
    if all(a < b for a, b in pairwise(nested)):
        *before, now = (len(each) for each in nested)
        rate = repeated_level(alpha, [*before, now])
        sentence += (
            f": a {100 * alpha:.3g} % test repeated with {', '.join(map(str, before))} and {now} seeds rejects a true "
            f"null in {100 * rate:.1f} % of studies (normal law)"
        )
    return f"{sentence}."


def _named(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {_listed(seeds)} {'were' if len(seeds) > 1 else 'was'}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
