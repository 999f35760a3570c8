"""Scores: a scorer's ranking of the layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from layersig.pipeline.graph import Input, Line, Stage
from layersig.pipeline.study import Study, labels
from layersig.pipeline.training import reference_update
from layersig.records import Cell


def score(study: Study, name: str, data: str, seed: int) -> Stage:
    """A ranking of the layers; its cell has only the axes that the scorer depends on."""
    choice, component = study.recipe.scorers[name], study.scorer(name)
    needs = component.needs
    on_data = component.reads_data
    on_seed = on_data or component.seeded
    on_checkpoint = bool(needs & {"update"})
    cell = Cell(
        scorer=name,
        data=data if on_data else None,
        seed=seed if on_seed else None,
        checkpoint=choice.checkpoint if on_checkpoint else None,
    )
    params: dict[str, Any] = {"scorer": choice.kind, "params": dict(choice.params), "unit": study.recipe.layers.unit}
    inputs = {"layers": Input("layers")}
    if component.computes:
        params |= {"train": study.train, **study.compute}
        inputs["model"] = Input("source/model")
    if on_data:
        inputs["data"] = Input(f"data/{data}")
    if "rankings" in needs:
        inputs["rankings"] = Input(f"source/rankings/{name}")
    if "update" in needs:
        inputs["update"] = reference_update(data, seed, choice.checkpoint)
    if "checkpoints" in needs:
        inputs["checkpoints"] = Input(f"reference/{data}/seed-{seed}")
    return Stage(
        id=f"score/{cell.key}",
        kind="score",
        cell=cell,
        params=params,
        inputs=inputs,
        seed=cell.seed,
        computes=component.computes,
        components=(component,),
        files={"trajectory.jsonl": f"trajectories/{replace(cell, checkpoint=None).key}.jsonl"},
        line=Line("ranking.json", "scores.jsonl", labels(cell, "scorer", "data", "seed", "checkpoint")),
    )
