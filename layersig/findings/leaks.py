"""Scorers that were computed on the very items that arms are evaluated on, and the arms that read them."""

from __future__ import annotations

from layersig.recipe.schema import Recipe


def leaking(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Arms by the scorer that leaks to them; a control follows the arm that it is made like."""
    scorers = [name for name, choice in recipe.scorers.items() if choice.params.get("leak")]
    found = {}
    for scorer in scorers:
        arms = [arm.name for arm in recipe.arms if scorer in arm.scorers]
        arms += [arm.name for arm in recipe.arms if arm.select.params.get("like") in arms and arm.name not in arms]
        found[scorer] = tuple(arms)
    return found


def leak_notes(recipe: Recipe) -> tuple[str, ...]:
    """A sentence for every scorer that leaks."""
    return tuple(
        f"Leak: scorer {scorer} was computed on what arms are evaluated on (leak = true), so results of "
        f"{', '.join(arms) or 'arms that would read it'} are too good to be compared with others."
        for scorer, arms in leaking(recipe).items()
    )
