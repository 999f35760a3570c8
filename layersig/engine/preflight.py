"""What is wrong with the tasks, the model, the update or the draws of a study is said before its first stage runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layersig.errors import UserError
from layersig.pipeline.study import checkpoint_node
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source


def check_sources(sources: Mapping[str, Source], recipe: Recipe, warn: Callable[[str], None]) -> None:
    """Check the model, the update and the given checkpoints of a recipe, from the headers of their files, and draws.

    Args:
        sources: Resolved sources by node of the graph.
        recipe: The recipe.
        warn: Told what the user should know.

    Raises:
        UserError: A model cannot be used, the update is none of the study's model, a given checkpoint cuts text into
            other tokens, or a task cannot be drawn.
    """
    from layersig.models.devices import pick_device, pick_dtype
    from layersig.models.preflight import check_base, check_checkpoint, check_update, names_of

    model, update = sources["source/model"], sources.get("source/update")
    dtype = pick_dtype(recipe.model.dtype, pick_device(recipe.model.device)).dtype
    layers, warnings = check_base(model.path, head=recipe.layers.head, dtype=dtype)
    if update is not None:
        warnings += check_update(update.path, layers, names_of(model.path, model.spec))
    for arm in recipe.arms:
        if arm.checkpoint is not None:
            try:
                warnings += check_checkpoint(
                    sources[checkpoint_node(arm.name)].path, model.path, dtype=dtype, heldout=recipe.evaluate.heldout
                )
            except UserError as error:
                raise UserError(f"arm {arm.name}: {error}") from error
    for message in warnings:
        warn(message)
    for number, task in enumerate(recipe.evaluate.tasks):
        if task.draws is not None:
            from layersig.evaluating.draws import check_draws

            check_draws(task, sources[f"source/task/{number}"].path)
