"""What an arm does with its selection."""

from __future__ import annotations

from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.selections import selection
from layersig.pipeline.study import Study
from layersig.pipeline.training import reference_update, training_inputs
from layersig.recipe.schema import Arm
from layersig.records import Cell


def action(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """The last stage of what an arm does with its selection: fine-tune it from the pretrained weights, or graft it."""
    return {"tune": tune, "graft": graft}[arm.action](study, arm, data, seed)


def tune(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Fine-tune the selected layers from the pretrained weights."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    return Stage(
        id=f"tune/{cell.key}",
        kind="tune",
        cell=cell,
        params={
            "train": study.recipe.training_of(arm).model_dump(mode="json", exclude={"milestones"}),
            **study.compute,
        },
        inputs={**training_inputs(data), "selection": Input(selection(study, arm, data, seed).id)},
        seed=seed,
        files={"adapter": f"adapters/{cell.key}"},
    )


def graft(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Keep the reference update on the selected layers."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    return Stage(
        id=f"graft/{cell.key}",
        kind="graft",
        cell=cell,
        params={},
        inputs={
            "layers": Input("layers"),
            "update": reference_update(data, seed),
            "selection": Input(selection(study, arm, data, seed).id),
        },
        computes=False,
        files={"adapter": f"adapters/{cell.key}"},
    )
