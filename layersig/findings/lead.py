"""Which scorers a report presents first."""

from __future__ import annotations

from layersig.recipe.schema import CONTROL_KINDS, Recipe


def primary_scorers(recipe: Recipe) -> tuple[str, ...]:
    """Scorers that the primary arms read, in their order; without such arms, the first that looks at the model."""
    primary = recipe.analyze.primary or ()
    read = dict.fromkeys(scorer for arm in recipe.arms if arm.name in primary for scorer in arm.scorers)
    if read:
        return tuple(read)
    return tuple(name for name, choice in recipe.scorers.items() if choice.kind not in CONTROL_KINDS)[:1]
