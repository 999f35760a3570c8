"""What an arm does with its selection."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.selections import selection
from layersig.pipeline.study import Study
from layersig.pipeline.training import outcome, published, reference_update, training_inputs, update_files
from layersig.recipe.schema import Arm, TrainSettings
from layersig.records import Cell
from layersig.stages.kinds import Graft, Patch, Prune, Recover, Tune


def actions(study: Study, arm: Arm, data: str, seed: int) -> Iterator[Stage]:
    """The stages of what an arm does with its selection, in order."""
    yield {"tune": tune, "graft": graft, "prune": prune}[arm.action](study, arm, data, seed)
    if arm.patch is not None:
        yield patch(study, arm, data, seed)
    if arm.recover is not None:
        yield recover(study, arm, data, seed)


def made(study: Study, arm: Arm, data: str, seed: int) -> dict[str, Input]:
    """What an arm comes to, by the role in which it is evaluated: an adapter, another model, or both."""
    key = Cell(arm=arm.name, data=data, seed=seed).key
    if arm.action != "prune":
        return outcome(study, training_behind(study, arm), Input(f"{arm.action}/{key}", "adapter"))
    model = {"model": _left(arm, key)}
    if arm.recover is None:
        return model
    return {**model, **outcome(study, training_behind(study, arm), Input(f"recover/{key}", "adapter"))}


def tune(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Fine-tune the selected layers from the pretrained weights."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    settings = training_behind(study, arm)
    chosen = selection(study, arm, data, seed)
    inputs = {**training_inputs(study, settings, data), "selection": Input(chosen.id)}
    if settings.reads_ranking:
        own, *_ = (each for role, each in chosen.inputs.items() if role.startswith("ranking/"))
        inputs["ranking"] = chosen.inputs.get(f"ranking/{arm.scorers[0]}/{data}", own)
    return Stage(
        id=f"tune/{cell.key}",
        cell=cell,
        spec=Tune.of(train=study.trained(settings), **study.compute),
        inputs=inputs,
        components=study.tuning_components(settings),
        seed=seed,
        files=published(study, settings, "adapter", cell.key),
    )


def training_behind(study: Study, arm: Arm) -> TrainSettings:
    """How what an arm ends with was trained: by itself, or as the reference that it is grafted from."""
    return study.recipe.train if arm.action == "graft" else study.recipe.training_of(arm)


def graft(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Keep the reference update on the selected layers."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    inputs = {
        "layers": Input("layers"),
        "update": reference_update(data, seed),
        "selection": Input(selection(study, arm, data, seed).id),
    }
    if study.method(study.recipe.train).result == "checkpoint":
        inputs["model"] = Input("source/model")
    return Stage(
        id=f"graft/{cell.key}",
        cell=cell,
        spec=Graft.of(),
        inputs=inputs,
        files=update_files(study, study.recipe.train, "adapter", cell.key),
    )


def prune(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Remove the selected blocks."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    return Stage(
        id=f"prune/{cell.key}",
        cell=cell,
        spec=Prune.of(head=study.recipe.layers.head),
        inputs={
            "model": Input("source/model"),
            "layers": Input("layers"),
            "selection": Input(selection(study, arm, data, seed).id),
        },
        files={} if arm.patch is not None else _published(study, arm, cell),
    )


def patch(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Put linear maps where blocks are gone."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    pruned = f"prune/{cell.key}"
    return Stage(
        id=f"patch/{cell.key}",
        cell=cell,
        spec=Patch.of(examples=arm.patch, **study.compute),
        inputs={
            "base": Input("source/model"),
            "model": Input(pruned, "model"),
            "layers": Input("layers"),
            "all": Input(pruned, "all"),
            "data": Input(f"data/{data}"),
        },
        seed=seed,
        files=_published(study, arm, cell),
    )


def _published(study: Study, arm: Arm, cell: Cell) -> dict[str, str]:
    """The checkpoint of an arm that prunes, unless a recovery by full fine-tuning makes its own in the same place."""
    last = arm.recover is None or study.method(training_behind(study, arm)).result != "checkpoint"
    return {"model": f"models/{cell.key}"} if last else {}


def _left(arm: Arm, key: str) -> Input:
    """What is left of the model before it is trained again."""
    return Input(f"{'prune' if arm.patch is None else 'patch'}/{key}", "model")


def recover(study: Study, arm: Arm, data: str, seed: int) -> Stage:
    """Fine-tune what pruning left."""
    cell = Cell(arm=arm.name, data=data, seed=seed)
    pruned = f"prune/{cell.key}"
    settings = training_behind(study, arm)
    scope = {} if arm.recover_on == "all" else {"scope": arm.recover_on}
    return Stage(
        id=f"recover/{cell.key}",
        cell=cell,
        spec=Recover.of(train=study.trained(settings), **scope, **study.compute),
        inputs={
            "base": Input("source/model"),
            "model": _left(arm, cell.key),
            "layers": Input(pruned, "all"),
            "selection": Input(pruned, "all"),
            "data": Input(f"data/{data}"),
        },
        components=study.tuning_components(settings),
        seed=seed,
        files=published(study, settings, "adapter", cell.key),
    )
