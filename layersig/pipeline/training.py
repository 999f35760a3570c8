"""The reference training, and what every training reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.pairs import untouched_input
from layersig.pipeline.study import Study
from layersig.recipe.schema import ALL_LAYERS, STANDARD_MILESTONES, TrainSettings
from layersig.records import Cell
from layersig.stages.kinds import GivenUpdate, Reference


def reference(study: Study, data: str, seed: int) -> Stage:
    """The training of all layers: up to the last milestone that anything reads, or until the ranking is stable."""
    settings, place = study.recipe.train, f"all-layers/{data}/seed-{seed}"
    milestones = _milestones(study)
    stop: dict[str, Any] = {"milestones": milestones} if settings.until is None else {"until": settings.until}
    whole = settings.until is None and milestones[-1] == 1
    return Stage(
        id=f"reference/{data}/seed-{seed}",
        cell=Cell(arm=ALL_LAYERS, data=data, seed=seed),
        spec=Reference.of(train=study.train, **stop, **study.compute),
        inputs=training_inputs(study, settings, data),
        components=study.tuning_components(settings),
        seed=seed,
        files=published(study, settings, f"at-{1.0:g}", place) if whole else training_log(place),
    )


def _milestones(study: Study) -> list[float]:
    """Fractions of the planned steps at which the reference update is kept; the training ends at the last."""
    settings = study.recipe.train
    read = {*settings.milestones, *study.update_checkpoints, *([1.0] if study.reads_whole_reference else [])}
    # Kept beside what is read, so that another checkpoint of a scorer takes no other training. A difference of whole
    # weights is too large for that.
    standard = () if study.method(settings).result == "checkpoint" else STANDARD_MILESTONES
    return sorted(each for each in {*read, *standard} if each <= max(read))


def own_reference(study: Study, scorer: str, data: str, seed: int) -> Stage:
    """The reference training of a scorer that has keys of `[train]` of its own, kept where that scorer looks at it."""
    choice = study.recipe.scorers[scorer]
    settings = study.recipe.training_of(choice)
    cell = Cell(arm=ALL_LAYERS, scorer=scorer, data=data, seed=seed)
    return Stage(
        id=f"reference/{scorer}/{data}/seed-{seed}",
        cell=cell,
        spec=Reference.of(
            train=study.trained(settings), milestones=sorted({*choice.checkpoints, 1.0}), **study.compute
        ),
        inputs=training_inputs(study, settings, data),
        components=study.tuning_components(settings),
        seed=seed,
        files={} if settings.search is None else {"search.json": f"searches/{cell.key}.json"},
    )


def given_update(study: Study) -> Iterator[Stage]:
    """The update that the recipe brings, if it brings one."""
    if study.recipe.update is None:
        return
    yield Stage(
        id="update",
        cell=Cell(),
        spec=GivenUpdate.of(),
        inputs={"model": Input("source/model"), "layers": Input("layers"), "update": Input("source/update")},
        files={"origin.json": "update.json"},
    )


def scored_update(study: Study, scorer: str, data: str, seed: int, checkpoint: float) -> Input:
    """The update that a scorer looks at: the one that the recipe brings, or else that of its reference training."""
    if study.recipe.update is not None:
        return Input("update", "at-1")
    part = f"at-{checkpoint:g}" if study.recipe.train.until is None else "at-stable"
    return Input(reference_of(study, scorer, data, seed), part)


def reference_of(study: Study, scorer: str, data: str, seed: int) -> str:
    """The stage of the reference training that a scorer looks at: its own, or the one that all others share."""
    own = study.recipe.scorers[scorer].train
    return own_reference(study, scorer, data, seed).id if own else f"reference/{data}/seed-{seed}"


def update_files(study: Study, settings: TrainSettings, adapter: str, place: str) -> dict[str, str]:
    """Where a tuned model goes in the run folder: an adapter or a checkpoint, as its method leaves it."""
    whole = study.method(settings).result == "checkpoint"
    return {"model": f"models/{place}"} if whole else {adapter: f"adapters/{place}"}


def published(study: Study, settings: TrainSettings, adapter: str, place: str) -> dict[str, str]:
    """Where all that a training made goes in the run folder: the tuned model, its log, what its search found."""
    search = {} if settings.search is None else {"search.json": f"searches/{place}.json"}
    return {**update_files(study, settings, adapter, place), **training_log(place), **search}


def training_log(place: str) -> dict[str, str]:
    """Where the log of a training goes in the run folder."""
    return {"log.json": f"trainings/{place}.json"}


def outcome(study: Study, settings: TrainSettings, adapter: Input) -> dict[str, Input]:
    """What a training came to, by the role in which it is evaluated; `adapter` is where an adapter would be."""
    whole = study.method(settings).result == "checkpoint"
    return {"model": Input(adapter.node, "model")} if whole else {"adapter": adapter}


def reference_update(data: str, seed: int) -> Input:
    """The update of the whole reference training."""
    return Input(f"reference/{data}/seed-{seed}", "at-1")


def training_inputs(study: Study, settings: TrainSettings, data: str) -> dict[str, Input]:
    """What a training on a data set reads."""
    found = {"model": Input("source/model"), "layers": Input("layers"), "data": Input(f"data/{data}")}
    return {**found, **untouched_input(study, settings, data)}
