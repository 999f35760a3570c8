"""Recipes whose judge has no endpoint yet: their conversations are left out, and said to be."""

from __future__ import annotations

from layersig.recipe.schema import Recipe

HOW = "judge.endpoint=URL judge.model=ID, and judge.key_env=NAME where it wants a key"
"""What gives a judge its endpoint, on the command line."""


def without_ungraded(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe without conversations that nobody would grade, and a line that says so; as it is where there are none.

    Nothing else of a study depends on the judge, and what is done already is not done again once it has an endpoint.
    """
    conversations = recipe.evaluate.conversations
    if not conversations or recipe.judge is None or recipe.judge.endpoint is not None:
        return recipe, ()
    names = ", ".join(each.label for each in conversations)
    evaluate = recipe.evaluate.model_copy(update={"conversations": ()})
    note = f"{names}: not asked, because [judge] has no endpoint; to have answers graded, run again with {HOW}"
    return recipe.model_copy(update={"evaluate": evaluate, "judge": None}), (note,)
