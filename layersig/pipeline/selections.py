"""Selections: the layers that the policy of an arm chooses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.pipeline.graph import Input, Line, Stage
from layersig.pipeline.scores import score
from layersig.pipeline.study import Study, labels
from layersig.plugin.components import Component
from layersig.recipe.schema import Arm
from layersig.records import Cell
from layersig.stages.kinds import Select

_PRICED = frozenset({"method", "rank", "optimizer", "micro_batch_tokens"})
"""Keys of a training that decide what training a layer costs."""


def selections(study: Study, arm: Arm, data: str, seed: int) -> Iterator[Stage]:
    """The selection of an arm, behind the selections that it refers to."""
    if study.policy(arm).reads_selection:
        yield from selections(study, study.arm(arm.select.params["like"]), data, seed)
    yield selection(study, arm, data, seed)


def selection(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """The layers of an arm; its cell has only the axes that the policy depends on."""
    policy = study.policy(arm)
    inputs = {"layers": Input("layers")}
    on_data = on_seed = False
    every = [each.name for each in study.recipe.data] if policy.rankings == "some" else []
    elsewhere = [*arm.rankings_of] or every
    for name in arm.scorers:
        for each in elsewhere or [data]:
            ranking = score(study, name, each, seed)
            inputs[f"ranking/{name}/{each}"] = Input(ranking.id)
            on_data = on_data or (ranking.cell.data is not None and not elsewhere)
            on_seed = on_seed or ranking.cell.seed is not None
    if policy.reads_selection:
        like = selection(study, study.arm(arm.select.params["like"]), data, seed)
        inputs["like"] = Input(like.id)
        on_data, on_seed = on_data or like.cell.data is not None, on_seed or like.cell.seed is not None
    on_seed = on_seed or policy.seeded
    cell = Cell(arm=arm.name, data=data if on_data else None, seed=seed if on_seed else None)
    unit = "block" if arm.action == "prune" else study.recipe.layers.unit
    params: dict[str, Any] = {"policy": arm.select.kind, "params": dict(arm.select.params), "unit": unit}
    components: tuple[Component, ...] = (policy,)
    if policy.costs:
        settings = study.recipe.training_of(arm)
        method = study.method(settings)
        params["train"] = {
            key: value for key, value in study.trained(settings).items() if key in {*_PRICED, method.name}
        }
        inputs["model"] = Input("source/model")
        components = (policy, method)
    return Stage(
        id=f"select/{cell.key}",
        cell=cell,
        spec=Select.of(**params),
        inputs=inputs,
        seed=cell.seed,
        components=components,
        line=Line("selection.json", "selections.jsonl", labels(cell, "arm", "data", "seed")),
    )
