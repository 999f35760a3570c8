"""What is wrong with the tasks, the model, the update or the draws of a study is said before its first stage runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from layersig.errors import UserError
from layersig.pipeline import Graph
from layersig.pipeline.study import checkpoint_node
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.stages.kinds import Recover, Reference, Tune
from layersig.stages.spec import ReadingSpec


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


def check_spreading(graph: Graph, loaded: LoadedRecipe) -> None:
    """Refuse `model.device_map` where a stage needs the model in one place, before anything is fetched.

    Raises:
        UserError: There is such a stage, or the recipe names one GPU.
    """
    model = loaded.recipe.model
    if model.device_map is None:
        return
    place = f"{loaded.where('model', 'device_map')}: model.device_map spreads the model over all GPUs for evaluation"
    if ":" in model.device:
        raise UserError(f'{place}, but model.device names one; write device = "cuda"')
    for stage in graph.stages:
        if stage.computes and not isinstance(stage.spec, ReadingSpec):
            raise UserError(
                f"{place} and generation, but {stage.id} trains it or reads its layers; remove the key, and start the "
                "run with `torchrun --no-python --nproc-per-node N layersig run RECIPE --shard`"
            )


def check_trainings(graph: Graph, model: Path, loaded: LoadedRecipe) -> None:
    """Refuse trainings that cannot fit into memory whatever their batches are, before anything is loaded.

    Of arms those are checked whose policy states a share of the layers.

    Raises:
        UserError: There is one, or the package of an optimizer is missing.
    """
    from layersig.models.devices import pick_device, pick_dtype
    from layersig.models.layermap import layer_map_of_checkpoint
    from layersig.training.footprint import capacity, model_bytes, why_too_large
    from layersig.training.optimizers import check_installed

    recipe = loaded.recipe
    device = pick_device(recipe.model.device)
    weights = model_bytes(model, pick_dtype(recipe.model.dtype, device).dtype, nf4=recipe.model.quantization == "nf4")
    layers = layer_map_of_checkpoint(model, head=recipe.layers.head)
    shares = {arm.name: arm.select.params.get("fraction") for arm in recipe.arms if arm.select.kind == "top"}
    for stage in graph.stages:
        if not isinstance(stage.spec, Reference | Tune) or isinstance(stage.spec, Recover):
            continue
        settings = stage.spec.train
        check_installed(settings.optimizer)
        share = 1.0 if isinstance(stage.spec, Reference) else shares.get(stage.cell.arm or "")
        if share is None:
            continue
        method = loaded.components.get("method", settings.method).create()
        values = share * sum(method.trained_values(layer, settings) for layer in layers)
        if (why := why_too_large(weights, values, settings, capacity(device))) is not None:
            raise UserError(f"{stage.id}: {why}")
