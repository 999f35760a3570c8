"""The walk through the grid of a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
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
from layersig.plugin.components import Component
from layersig.plugin.table import Components
from layersig.recipe.schema import ALL_LAYERS, BASE, Choice, Recipe


def stages(recipe: Recipe, known: Components) -> Graph:
    """The graph of a recipe.

    Args:
        recipe: A validated recipe.
        known: Registered scorers and policies.
    """
    study = Study(recipe, known)
    return Graph(sources(study), tuple(_once(_all(study))))


_LOCAL = re.compile(r"(untrained:)?(file|path):")
_NO_OUTCOME = re.compile(
    r"evaluate\.(allow_code_execution|batch_tokens|memorisation)"
    r"|model\.(device|device_map|fast)"
    r"|(train|scorers\.[^.]+\.train|arms\.\d+\.(train|recover))\.(gradient_checkpointing|micro_batch_tokens)"
    r"|data\.\d+\.generate\.(batch_tokens|endpoint\.(concurrency|key_env|timeout))"
    r"|judge\.(concurrency|key_env|timeout)"
)
"""Keys that are about the machine, or about the untouched model alone."""


def declaration(recipe: Recipe, known: Components, digests: Mapping[str, str]) -> dict[str, Any]:
    """What a recipe declares: how outcomes come about and are compared, so all that could be chosen after seeing some.

    A second try, with another learning rate, scorer or sample, is another declaration, and reports count those. Keys at
    their defaults are left out, and parameters of components that were added to them later, so that those that later
    versions add do not make it another one.

    Args:
        recipe: A recipe.
        known: Registered components.
        digests: Of the content of local files and folders, by spec: they may be moved, and are others when they change.
    """
    said = {"name", "description", "plugins", "about"}
    declared: dict[str, Any] = recipe.model_dump(mode="json", exclude_defaults=True, exclude=said)
    for name, choice in recipe.scorers.items():
        _drop_later(declared["scorers"][name], known.get("scorer", choice.kind), choice)
    for number, arm in enumerate(recipe.arms):
        if arm.checkpoint is None:
            _drop_later(declared["arms"][number]["select"], known.get("policy", arm.select.kind), arm.select)
    declared = _declared(declared, digests)
    if recipe.analyze.looks is not None:
        declared.pop("seeds", None)  # they grow from look to look; the numbers of them are declared instead
    model = declared.pop("model")
    declared["model"] = model.pop("source")  # by which others on record are found
    return declared | ({"loading": model} if model else {})


def _drop_later(table: dict[str, Any], component: Component, choice: Choice) -> None:
    for name in choice.params.keys() - component.told(choice.params).keys():
        del table[name]


def _declared(value: Any, digests: Mapping[str, str], path: str = "") -> Any:
    """A value of a recipe without what decides no outcome, and without tables that this leaves empty."""
    if isinstance(value, dict):
        places = {key: f"{path}.{key}".lstrip(".") for key in value}
        kept = {
            key: _declared(each, digests, places[key])
            for key, each in value.items()
            if not _NO_OUTCOME.fullmatch(places[key])
        }
        return {key: each for key, each in kept.items() if each != {} or value[key] == {}}
    if isinstance(value, list):
        return [_declared(each, digests, f"{path}.{number}") for number, each in enumerate(value)]
    if isinstance(value, str) and (local := _LOCAL.match(value)):
        return f"{local[0]}{digests.get(value) or PurePath(value[local.end() :]).name}"
    return value


def measures_arm(kind: str, arm: str | None) -> bool:
    """Whether a stage of this kind measures an outcome of this arm, other than the untouched model."""
    return kind in ("evaluate", "grade", "compare") and arm != BASE


def without_seeds(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What is trained and measured but for the seeds: recipes that are equal in it are one study at two sizes.

    Args:
        declared: Of `declaration`.
    """
    return {key: value for key, value in declared.items() if key not in ("seeds", "analyze")}


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
    if not recipe.measures:
        return
    yield evaluation(study, "base", None, None)
    for data, seed in study.grid():
        if study.measures_all_layers:
            yield evaluation(study, ALL_LAYERS, data, seed)
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
