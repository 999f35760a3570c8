"""What arms are measured on, and what that shares with the training data."""

from __future__ import annotations

from typing import Any

from layersig.pipeline.actions import made
from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.pairs import untouched_input
from layersig.pipeline.study import Study, checkpoint_node
from layersig.pipeline.training import outcome, reference_update
from layersig.recipe.schema import ALL_LAYERS, BASE
from layersig.records import Cell
from layersig.stages.measurements import Evaluate, Overlap


def evaluation(study: Study, arm: str, data: str | None, seed: int | None) -> Stage:
    """Per-item outcomes of an arm on the held-out conversations and the tasks of the recipe."""
    cell = study.evaluated(arm, data, seed)
    settings = study.recipe.evaluate
    inputs = {"model": Input("source/model"), **arm_inputs(study, cell)}
    if settings.heldout:
        inputs.update({f"data/{each.name}": Input(f"data/{each.name}") for each in study.recipe.data})
        inputs.update(_untouched(study))
    inputs.update(study.task_inputs)
    return Stage(
        id=f"evaluate/{cell.key}",
        cell=cell,
        spec=Evaluate.of(
            tasks=study.tasks if arm == "base" else study.tasks_without_floors,
            batch_tokens=settings.batch_tokens,
            **study.beside_tasks,
            **_objective(study),
            **({"memorisation": True} if arm == "base" and settings.memorisation and settings.tasks else {}),
            **study.reading,
        ),
        inputs=inputs,
        components=study.objective_components(study.recipe.train),
        files={"": f"evaluations/{cell.key}"},
    )


def _objective(study: Study) -> dict[str, Any]:
    """What held-out pairs are measured by: the objective of [train]."""
    if not study.pairs or not study.recipe.evaluate.heldout:
        return {}
    component = study.objective(study.recipe.train)
    params = study.recipe.train.params(component).model_dump(mode="json")
    return {"objective": {"name": component.name, "params": params}}


def _untouched(study: Study) -> dict[str, Input]:
    """The log-probabilities of held-out pairs under the untouched model, where the objective reads them."""
    found = {each.name: untouched_input(study, study.recipe.train, each.name, "heldout") for each in study.recipe.data}
    return {f"{role}/{name}": read for name, inputs in found.items() for role, read in inputs.items()}


def arm_inputs(study: Study, cell: Cell) -> dict[str, Input]:
    """What an arm made of the model, or brings in its place; nothing for the untouched base."""
    assert cell.arm is not None
    if cell.arm == BASE:
        return {}
    if cell.data is None or cell.seed is None:
        return {"model": Input(checkpoint_node(cell.arm))}
    if cell.arm == ALL_LAYERS:
        return outcome(study, study.recipe.train, reference_update(cell.data, cell.seed))
    return made(study, study.arm(cell.arm), cell.data, cell.seed)


def overlap(study: Study, data: str) -> Stage:
    """What tasks, questions and the held-out conversations share with the training side of a data set."""
    inputs = {"data": Input(f"data/{data}"), **study.task_inputs, **study.question_inputs}
    if study.recipe.evaluate.heldout:
        inputs["model"] = Input("source/model")
    return Stage(
        id=f"overlap/{data}",
        cell=Cell(data=data),
        spec=Overlap.of(
            tasks=study.tasks_without_floors,
            **study.same_items,
            **({"conversations": study.question_sets} if study.question_sets else {}),
        ),
        inputs=inputs,
        files={"overlap.json": f"overlap/{data}.json"},
    )
