"""Recipes whose judge has no endpoint yet: their conversations are left out, and the user is told."""

from __future__ import annotations

from layersig.recipe.schema import Recipe

HOW = "judge.endpoint=URL judge.model=ID, and judge.key_env=NAME where it wants a key"
"""The overrides that give a judge its endpoint."""


def without_ungraded(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe without conversations that would not be graded, and a line that says so; unchanged if there are none.

    Nothing else in a study depends on the judge, so once it has an endpoint nothing is computed twice.
    """
    conversations = recipe.evaluate.conversations
    if not conversations or recipe.judge is None or recipe.judge.endpoint is not None:
        return recipe, ()
    names = ", ".join(each.label for each in conversations)
    evaluate = recipe.evaluate.model_copy(update={"conversations": ()})
    note = f"{names}: not asked, because [judge] has no endpoint; to have answers graded, run again with {HOW}"
    return recipe.model_copy(update={"evaluate": evaluate, "judge": None}), (note,)
