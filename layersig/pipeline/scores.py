"""Scores: a scorer's ranking of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from layersig.pipeline.graph import Input, Line, Stage
from layersig.pipeline.pairs import untouched_input
from layersig.pipeline.study import Study, labels, selection_node, selection_tasks
from layersig.pipeline.training import own_reference, reference_of, scored_update
from layersig.records import ABLATIONS, Cell
from layersig.stages.kinds import Score


def scores(study: Study, name: str, data: str, seed: int) -> Iterator[Stage]:
    """The rankings of a scorer, one for each of its checkpoints, behind the reference training that only it reads."""
    if study.recipe.scorers[name].train:
        yield own_reference(study, name, data, seed)
    yield from (score(study, name, data, seed, each) for each in study.recipe.scorers[name].checkpoints)


def score(study: Study, name: str, data: str, seed: int, checkpoint: float | None = None) -> Stage:
    """A ranking of the layers; its cell has only the axes that the scorer depends on.

    Args:
        study: The study.
        name: The scorer.
        data: A data set.
        seed: A seed.
        checkpoint: One of the scorer's checkpoints; its last, which arms read, when None.
    """
    choice, component = study.recipe.scorers[name], study.scorer(name)
    at = choice.checkpoints[-1] if checkpoint is None else checkpoint
    settings, trained = study.scored(choice), study.recipe.update is None
    tasks = selection_tasks(study, name)
    # A scorer that could work on either works on tasks where it is given some.
    needs = component.needs - ({"data"} if tasks else {"tasks"})
    on_data = component.depends_on_data(on_tasks=bool(tasks), given_update=not trained)
    on_seed = on_data or component.seeded
    cell = Cell(
        scorer=name,
        data=data if on_data else None,
        seed=seed if on_seed else None,
        checkpoint=at if "update" in needs and trained and study.recipe.train.until is None else None,
    )
    params: dict[str, Any] = {
        "scorer": choice.kind,
        "params": component.told(choice.params),
        "unit": study.recipe.layers.unit,
    }
    if choice.stream:
        params["stream"] = choice.stream
    inputs = {"layers": Input("layers")}
    if component.computes:
        params |= {"train": study.trained(settings), **study.compute}
    if component.computes or "weights" in needs:
        inputs["model"] = Input("source/model")
    if tasks:
        params |= {"evaluated": study.tasks_without_floors, "batch_tokens": study.recipe.evaluate.batch_tokens}
        params |= study.beside_tasks
        inputs |= {f"task/{number}": Input(selection_node(name, number)) for number in range(len(tasks))}
        inputs |= {f"evaluated/{number}": each for number, each in enumerate(study.task_inputs.values())}
    if on_data:
        inputs["data"] = Input(f"data/{data}")
        inputs |= untouched_input(study, settings, data, "heldout" if choice.params.get("leak") else "train")
    if "rankings" in needs:
        inputs["rankings"] = Input(f"source/rankings/{name}")
    if "update" in needs:
        inputs["update"] = scored_update(study, name, data, seed, at)
    if "checkpoints" in needs:
        inputs["checkpoints"] = Input(reference_of(study, name, data, seed))
    place = cell if len(choice.checkpoints) > 1 else replace(cell, checkpoint=None)
    return Stage(
        id=f"score/{cell.key}",
        cell=cell,
        spec=Score.of(**params),
        inputs=inputs,
        seed=cell.seed,
        components=(component, *study.objective_components(settings)),
        files={"trajectory.jsonl": f"trajectories/{place.key}.jsonl", ABLATIONS: f"{ABLATIONS}/{place.key}"},
        line=Line("ranking.json", "scores.jsonl", labels(cell, "scorer", "data", "seed", "checkpoint")),
    )
