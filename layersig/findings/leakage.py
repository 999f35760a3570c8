"""Scorers that were computed on the very items that arms are evaluated on, and the arms that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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


def shot_notes(tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for every task whose few-shot examples would have shown an item with its own answer."""
    for task, record in tasks.items():
        replaced = record.get("shots_replaced", {})
        if replaced.get("items"):
            yield (
                f"{task}: few-shot examples come from `{record['shots_from']}`. In {replaced['items']} of "
                f"{record['n']} prompts an example was the item itself or a copy of it; {replaced['examples']} "
                "examples were replaced by others."
            )
