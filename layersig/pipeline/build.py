"""The walk through the grid of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.pipeline.actions import actions
from layersig.pipeline.conversations import conversations
from layersig.pipeline.evaluations import evaluation, overlap
from layersig.pipeline.graph import Graph, Stage
from layersig.pipeline.materials import data_stages, layers_stage, sources
from layersig.pipeline.pairs import untouched_stages
from layersig.pipeline.scores import scores
from layersig.pipeline.selections import selections
from layersig.pipeline.study import Study
from layersig.pipeline.training import given_update, reference
from layersig.plugin.table import Components
from layersig.recipe.schema import RESERVED_ARMS, Recipe
from layersig.stages.measurements import Judging


def stages(recipe: Recipe, known: Components) -> Graph:
    """The graph of a recipe.

    Args:
        recipe: A validated recipe.
        known: Registered scorers and policies.
    """
    study = Study(recipe, known)
    return Graph(sources(study), tuple(_once(_all(study))))


_DECLARED = {
    "analyze",
    "arms",
    "data",
    "evaluate",
    "layers",
    "model",
    "root_seed",
    "scorers",
    "seeds",
    "sweeps",
    "train",
    "update",
}
_NO_OUTCOME: dict[str, Any] = {
    "evaluate": {"allow_code_execution", "batch_tokens", "memorisation"},
    "model": {"attention", "device", "device_map", "fast", "source"},
    "train": {"gradient_checkpointing", "micro_batch_tokens"},
}
"""Keys that are about the machine, or about the untouched model alone."""


def declaration(recipe: Recipe) -> dict[str, Any]:
    """What a recipe declares: how outcomes come about and are compared, so all that could be chosen after seeing some.

    A second try, with another learning rate, scorer or sample, is another declaration, and reports count those. Keys at
    their defaults are left out, so that those that later versions add do not make it another one.
    """
    declared = recipe.model_dump(mode="json", exclude_defaults=True, include=_DECLARED, exclude=_NO_OUTCOME)
    if recipe.analyze.looks is not None:
        declared.pop("seeds", None)  # they grow from look to look; the numbers of them are declared instead
    if loading := declared.pop("model"):
        declared["loading"] = loading
    declared["model"] = recipe.model.source
    if recipe.judge is not None:
        declared["judge"] = recipe.judge.model_dump(mode="json", exclude_defaults=True, exclude=set(Judging.manner))
    return declared


def measures_arm(kind: str, arm: str | None) -> bool:
    """Whether a stage of this kind measures an outcome of this arm, other than the untouched model."""
    return kind in ("evaluate", "grade", "compare") and arm != RESERVED_ARMS[0]


def without_seeds(recipe: Recipe) -> dict[str, Any]:
    """What a recipe trains and measures but for its seeds: recipes that are equal in it are one study at two sizes."""
    measured = recipe.model_dump(mode="json", exclude={"seeds", "name", "description", "analyze", "judge"})
    if recipe.judge is not None:
        measured["judge"] = recipe.judge.model_dump(mode="json", exclude=set(Judging.manner))
    return measured


def _all(study: Study) -> Iterator[Stage]:
    """Every stage; the same stage may come more than once."""
    recipe = study.recipe
    yield layers_stage(study)
    for each in recipe.data:
        yield from data_stages(study, each.name)
        yield from untouched_stages(study, each.name)
    if study.trains_reference:
        yield from (reference(study, data, seed) for data, seed in study.grid())
    yield from given_update(study)
    for data, seed in study.grid():
        for name in recipe.scorers:
            yield from scores(study, name, data, seed)
    for data, seed in study.grid():
        for arm in recipe.arms:
            if arm.checkpoint is None:
                yield from selections(study, arm, data, seed)
    if not recipe.arms:
        return
    yield evaluation(study, "base", None, None)
    for data, seed in study.grid():
        if study.measures_all_layers:
            yield evaluation(study, "all-layers", data, seed)
        for arm in recipe.arms:
            if arm.checkpoint is None:
                yield from actions(study, arm, data, seed)
            yield evaluation(study, arm.name, data, seed)
    if recipe.evaluate.tasks or recipe.evaluate.conversations:
        yield from (overlap(study, data.name) for data in recipe.data)
    yield from conversations(study)


def _once(found: Iterator[Stage]) -> Iterator[Stage]:
    seen: set[str] = set()
    for stage in found:
        if stage.id not in seen:
            seen.add(stage.id)
            yield stage
