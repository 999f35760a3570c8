"""The recipe that tests of findings start from: one data set, one scorer, and an arm that reads it."""

from __future__ import annotations

from typing import Any

from layersig.recipe.schema import Recipe

FEW: dict[str, Any] = {"name": "few", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}}


def recipe_of(*arms: dict[str, Any], seeds: tuple[int, ...] = (0,), **more: Any) -> Recipe:
    """A recipe with `arms`; `more` sets or replaces other keys."""
    return Recipe.model_validate(
        {
            "name": "r",
            "seeds": seeds,
            "model": {"source": "pypi:x"},
            "data": ({"name": "d", "source": "pypi:y"},),
            "scorers": {"ila": {"kind": "ila"}},
            "arms": arms,
            **more,
        }
    )
