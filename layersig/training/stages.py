"""The stages that fine-tune: the reference training of all layers, and the tuning of a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from layersig.data.batches import optimizer_batches
from layersig.data.examples import Example, Examples, read_examples
from layersig.errors import UserError
from layersig.layers import Layer, LayerMap
from layersig.models.adapters import read_adapter
from layersig.models.dense import read_dense, write_checkpoint
from layersig.models.kernels import fast_lora
from layersig.models.load import borrow_model, stored_bytes
from layersig.recipe.schema import TrainSettings
from layersig.records import Ranking, Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Recover, Reference, Training, Tune
from layersig.store.files import link_or_copy
from layersig.training.checkpoint import CHECKPOINT
from layersig.training.continuing import continue_in, link_folder, step_of, taken_over, write_log
from layersig.training.log import Step
from layersig.training.loop import train
from layersig.training.losses import batch_losses
from layersig.training.methods import Base, Tuning, component_of, tuned
from layersig.training.optimization import Optimization
from layersig.training.rank_stability import RankWatch
from layersig.training.ranks import ranks_by_order
from layersig.training.resampling import Resampling
from layersig.training.search import Fit, search

STABLE = "at-stable"
"""Name of the update of a training that may end where the ranking is stable."""


def reference(job: Job[Reference]) -> None:
    """Train all layers and keep the update at every milestone; see `Reference`.

    What an equal training of another length left is continued, or taken over.

    Raises:
        UserError: The method cannot tune these layers, or the learning rate is 0 up to the last milestone.
        StageFailed: The training diverged, or left a layer as it was.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    if job.spec.until is not None:
        _train(job, layers, list(layers), {})
        return
    kept = {f"at-{fraction:g}": fraction for fraction in job.spec.milestones}
    if not taken_over(job, kept):
        _train(job, layers, list(layers), kept)


def tune(job: Job[Tune]) -> None:
    """Train the selected layers, and prove that they alone have moved; see `Tune`.

    Raises:
        UserError: The method cannot tune these layers.
        StageFailed: The training diverged, or moved other layers than the selected ones.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    selection = Selection.from_json(job.read("selection", "selection.json"))
    _train(job, layers, [layers.by_name[name] for name in selection.layers], {"adapter": 1.0})


def recover(job: Job[Recover]) -> None:
    """Train all that pruning left, from the pruned weights, as `tune` does; see `Recover`."""
    tune(job)


def _train(job: Job[Training], layers: LayerMap, chosen: Sequence[Layer], kept: Mapping[str, float]) -> None:
    """Train `chosen` as far as the last of `kept`: the update under every name at its fraction of the planned steps."""
    settings = job.spec.train
    checkpoint = component_of(settings.method, job.components).result == "checkpoint"
    examples = read_examples(job.inputs["data"], "train")
    with borrow_model(job.inputs["model"], **job.spec.loading) as model:

        def fit(
            settings: TrainSettings, trained: Sequence[Example] | Examples, validation: Sequence[Example], work: Path
        ) -> Fit:
            return _fit(job, model, layers, chosen, kept, settings, trained, validation, work)

        if settings.search is None:
            fitted = fit(settings, examples, (), job.work)
        else:
            fitted = search(job, settings, examples, fit)
        if checkpoint and 1.0 in kept.values():
            update = read_dense(fitted.folder / list(kept)[-1], layers)
            write_checkpoint(model, layers, update, job.inputs["model"], job.out / "model")
    for name in kept or [STABLE]:
        # The difference that an arm makes is in its checkpoint. Nothing is moved: the state behind stays complete for
        # another start until the stage is done.
        if not checkpoint or name != "adapter":
            link_folder(fitted.folder / name, job.out / name)
    if job.kept is not None and kept and len(fitted.log.steps) < fitted.planned:
        link_or_copy(fitted.folder / CHECKPOINT, job.kept / CHECKPOINT)
    log = fitted.log
    more: dict[str, Any] = {} if fitted.turns is None else {"blocks_in_turn": fitted.turns}
    if fitted.looks is not None:
        more["rank_stability"] = fitted.looks
    write_log(job, log.steps, fitted.planned, log.numerics, **more)
    cost = {
        "tokens": log.tokens,
        "peak_memory": log.peak_memory,
        "seconds_per_token": log.seconds / log.tokens,
        "steps": len(log.steps),
        "planned_steps": fitted.planned,
    }
    # A search has told the cost of all its trials.
    job.cost.update({**cost, **fitted.memory, **job.cost})


def _fit(
    job: Job[Training],
    model: PreTrainedModel,
    layers: LayerMap,
    chosen: Sequence[Layer],
    kept: Mapping[str, float],
    settings: TrainSettings,
    trained: Sequence[Example] | Examples,
    validation: Sequence[Example],
    work: Path,
) -> Fit:
    """One training; its state and what it keeps go to `work`."""
    length = {"steps": settings.steps} if settings.steps is not None else {"epochs": settings.epochs or 1.0}
    batches = optimizer_batches(trained, batch_size=settings.batch_size, streams=job.streams, **length)
    due: dict[int, list[str]] = {}
    for name, fraction in kept.items():
        due.setdefault(step_of(fraction, len(batches)), []).append(name)
    last = max(due, default=len(batches))
    rate = partial(Optimization.of(settings).learning_rate_at, steps=len(batches))
    if last < len(batches) and not any(map(rate, range(last))):
        reached = f"the last checkpoint that is read lies after {last} of {len(batches)} steps"
        raise UserError(
            f"train.warmup_ratio: {reached}, and up to there the learning rate is 0, so no layer has moved; read a "
            "later checkpoint, or set train.warmup_ratio to 0"
        )
    continued = continue_in(work, job.earlier, due) if due else 0
    turns = None
    if settings.resample is not None:
        still = int(Optimization.of(settings).learning_rate_at(0, len(batches)) == 0)
        turns = Resampling.plan(chosen, settings.resample, len(batches), job.streams, still=still)
        chosen = turns.layers
    ranks = _ranks(job, chosen, settings.rank) if settings.ranks == "scores" else None
    with tuned(
        model,
        chosen,
        settings,
        base=_base(job),
        steps=len(batches),
        streams=job.streams,
        ranks=ranks,
        components=job.components,
    ) as tuning:
        watch = None if due else RankWatch(work, len(batches), partial(_sizes, tuning, work / "look", layers))
        log = train(
            tuning.model,
            tuning.parameters,
            trained,
            batches,
            settings,
            job.streams,
            reporter=job.reporter,
            device=model.device,
            extra_loss=tuning.extra_loss,
            after_step=tuning.after_step if watch is None else partial(_watched, tuning, watch),
            in_turn=None if turns is None else partial(turns.in_turn, parameters=tuning.parameters),
            milestones={step: partial(_keep, tuning, work, names) for step, names in due.items()},
            memory=tuning,
            last=last if watch is None or watch.stable_at is None else watch.stable_at,
            checkpoint=work,
        )
        if watch is not None:
            tuning.save(work / STABLE)
        tuning.assert_moved()
        loss = _loss(model, tuning, settings, validation) if validation else None
        cost = {**_memory(tuning), **({"continued_from": continued} if continued else {})}
        drawn, looks = None if turns is None else turns.drawn, None if watch is None else watch.record()
        return Fit(work, log, len(batches), loss, cost, drawn, looks)


def _watched(tuning: Tuning, watch: RankWatch, step: Step) -> bool:
    tuning.after_step(step)
    return watch.after_step(step)


def _sizes(tuning: Tuning, folder: Path, layers: LayerMap) -> list[float]:
    """Frobenius norm of the update of every layer as it is now."""
    tuning.save(folder)
    update = read_adapter(folder, layers)
    return [update.norm(layer.name) for layer in layers]


def _ranks(job: Job[Training], chosen: Sequence[Layer], mean: int) -> dict[str, int]:
    """Ranks of the chosen layers by the ranking of the arm; layers of one unit stand together, in model order."""
    ranking = Ranking.from_json(job.read("ranking", "ranking.json"))
    groups = LayerMap.from_json(job.read("layers", "layers.json")).groups(ranking.unit)
    place = {name: number for number, name in enumerate(ranking.ordered())}
    places = {layer.name: place[group.name] for group in groups for layer in group.members}
    return ranks_by_order(sorted((layer.name for layer in chosen), key=lambda name: places[name]), mean)


def _loss(model: PreTrainedModel, tuning: Tuning, settings: TrainSettings, examples: Sequence[Example]) -> float:
    """Loss per target token of the tuned model, without dropout."""
    tuning.model.eval()
    every, budget = [range(len(examples))], settings.micro_batch_tokens
    with fast_lora(model):
        (loss,) = batch_losses(model, examples, every, token_budget=budget, device=model.device)
    return loss


def _keep(tuning: Tuning, work: Path, names: Sequence[str]) -> None:
    for name in names:
        # Under `work`, so that a milestone outlives an interruption as the checkpoint behind it does.
        tuning.save(work / name)


def _memory(tuning: Tuning) -> dict[str, float]:
    """Bytes that a training must hold besides activations: weights, and for what is trained values and their kin."""
    trained = {id(each): each.nbytes for each in tuning.parameters.values()}
    size = sum(trained.values())
    return {
        "weights_memory": sum(stored_bytes(each) for each in tuning.model.parameters() if id(each) not in trained),
        "trained_memory": size,
        "gradient_memory": size,
        # AdamW keeps two moments of every trained value.
        "optimizer_memory": 2 * size,
    }


def _base(job: Job[Training]) -> Base:
    """What adapters call the model they belong to."""
    if "base" in job.inputs:
        name, revision = _base_model(job.origins.get("base", "model"))
        return Base(f"{name} without {', '.join(job.read('layers', 'pruned.json')['removed'])}", revision)
    return _base_model(job.origins.get("model", "model"))


def _base_model(origin: str) -> Base:
    """A hub repository and its commit, or the name that the recipe gave."""
    scheme, _, name = origin.partition(":")
    if scheme != "hub":
        return Base(origin.removeprefix("path:"))
    repository, _, revision = name.partition("@")
    return Base(repository, revision or None)
