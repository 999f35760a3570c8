"""What is wrong with the model, the update or the draws of a study is said before its first stage runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layersig.recipe.schema import Recipe
from layersig.sources.source import Source


def check_sources(sources: Mapping[str, Source], recipe: Recipe, warn: Callable[[str], None]) -> None:
    """Check the model and the update of a recipe, from the headers of their files, and what tasks are asked for.

    Args:
        sources: Resolved sources by node of the graph.
        recipe: The recipe.
        warn: Told what the user should know.

    Raises:
        UserError: The model cannot be used, the update is none of it, or a task cannot be drawn.
    """
    from layersig.models.devices import pick_device, pick_dtype
    from layersig.models.preflight import check_base, check_update, names_of

    model, update = sources["source/model"], sources.get("source/update")
    dtype = pick_dtype(recipe.model.dtype, pick_device(recipe.model.device)).dtype
    layers, told = check_base(model.path, head=recipe.layers.head, dtype=dtype)
    if update is not None:
        told += check_update(update.path, layers, names_of(model.path, model.spec))
    for message in told:
        warn(message)
    for number, task in enumerate(recipe.evaluate.tasks):
        if task.draws is not None:
            from layersig.evaluating.draws import check_draws

            check_draws(task, sources[f"source/task/{number}"].path)
