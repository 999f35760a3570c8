"""What an arm does with its selection."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.selections import selection
from layersig.pipeline.study import Study
from layersig.pipeline.training import reference_update, training_inputs
from layersig.recipe.schema import Arm
from layersig.records import Cell


def actions(study: Study, arm: Arm, data: str, seed: int) -> Iterator[Stage]:
    """The stages of what an arm does with its selection, in order."""
    yield {"tune": tune, "graft": graft, "prune": prune}[arm.action](study, arm, data, seed)
    if arm.recover is not None:
        yield recover(study, arm, data, seed)


def made(arm: Arm, data: str, seed: int) -> dict[str, Input]:
    """What an arm comes to, by the role in which it is evaluated: an adapter, another model, or both."""
    key = Cell(arm=arm.name, data=data, seed=seed).key
    if arm.action != "prune":
        return {"adapter": Input(f"{arm.action}/{key}", "adapter")}
    model = {"model": Input(f"prune/{key}", "model")}
    return model if arm.recover is None else {**model, "adapter": Input(f"recover/{key}", "adapter")}


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


def prune(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Remove the selected blocks."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    return Stage(
        id=f"prune/{cell.key}",
        kind="prune",
        cell=cell,
        params={"head": study.recipe.layers.head},
        inputs={
            "model": Input("source/model"),
            "layers": Input("layers"),
            "selection": Input(selection(study, arm, data, seed).id),
        },
        computes=False,
        files={"model": f"models/{cell.key}"},
    )


def recover(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Fine-tune all that pruning left."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    pruned = f"prune/{cell.key}"
    return Stage(
        id=f"recover/{cell.key}",
        kind="recover",
        cell=cell,
        params={
            "train": study.recipe.training_of(arm).model_dump(mode="json", exclude={"milestones"}),
            **study.compute,
        },
        inputs={
            "base": Input("source/model"),
            "model": Input(pruned, "model"),
            "layers": Input(pruned, "all"),
            "selection": Input(pruned, "all"),
            "data": Input(f"data/{data}"),
        },
        seed=seed,
        files={"adapter": f"adapters/{cell.key}"},
    )
