"""The stages that fine-tune: the reference training of all layers, and the tuning of a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from layersig.data.batches import optimizer_batches
from layersig.data.pairs import Items
from layersig.distributed.sharding import local
from layersig.distributed.world import world
from layersig.errors import StageFailed, UserError
from layersig.fast.lora import fast_lora
from layersig.fast.runner import Workload, reading_runner
from layersig.layers import Group, Layer, LayerMap
from layersig.models.adapters import read_adapter
from layersig.models.dense import held_starts, read_dense, write_checkpoint
from layersig.models.devices import pick_device, pick_dtype
from layersig.models.load import borrow_model, load_model, stored_bytes
from layersig.objectives import learnt
from layersig.plugin.components import BUILT_IN
from layersig.recipe.schema import MOMENT_BYTES, TrainSettings
from layersig.records import Ranking, Selection
from layersig.stages.job import Job
from layersig.stages.kinds import Recover, Reference, Training, Tune
from layersig.store.files import link_or_copy
from layersig.training.callbacks import InTurn, Milestones, Progress
from layersig.training.checkpoint import CHECKPOINT, Checkpoints
from layersig.training.continuing import continue_in, link_folder, step_of, taken_over, write_log
from layersig.training.footprint import capacity, model_bytes, why_too_large
from layersig.training.loop import train
from layersig.training.methods import Base, Tuning, component_of, tuned
from layersig.training.methods.splitting import check_split
from layersig.training.operations import operations
from layersig.training.optimization import Optimization
from layersig.training.rank_stability import RankWatch
from layersig.training.ranks import ranks_by_order, ranks_by_share
from layersig.training.recovery import in_scope
from layersig.training.resampling import Resampling, block_weights
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
    """Train what pruning left, from the pruned weights, as `tune` does; see `Recover`.

    Raises:
        UserError: As `tune`, or the scope names more blocks than are left.
    """
    if job.spec.scope == "all":
        tune(job)
        return
    left = LayerMap.from_json(job.read("layers", "layers.json"))
    removed = job.read("layers", "pruned.json")["removed"]
    layers, chosen = in_scope(job.spec.scope, left, removed, job.inputs["model"])
    _train(job, layers, chosen, {"adapter": 1.0})


def _train(job: Job[Training], layers: LayerMap, chosen: Sequence[Layer], kept: Mapping[str, float]) -> None:
    """Train `chosen` as far as the last of `kept`: the update under every name at its fraction of the planned steps."""
    settings = job.spec.train
    several = world()
    method = component_of(settings.method, job.components)
    checkpoint = method.result == "checkpoint"
    borrower = "" if method.origin == BUILT_IN else method.label
    examples = learnt(settings, job.inputs, "train", job.components)
    _refuse_too_large(job, chosen)
    if several.sharded:
        check_split(settings, checkpoint=checkpoint)
    wide = chosen if checkpoint else ()
    with borrow_model(job.inputs["model"], **job.spec.loading, weights=wide, borrower=borrower) as model:

        def fit(settings: TrainSettings, trained: Items, validation: Items | None, work: Path) -> Fit:
            return _fit(job, model, layers, chosen, kept, settings, trained, validation, work)

        if settings.search is None:
            fitted = fit(settings, examples, None, job.work)
        else:
            fitted = search(job, settings, examples, fit)
        if checkpoint and 1.0 in kept.values() and several.first:
            update = read_dense(fitted.folder / list(kept)[-1], layers)
            start = load_model(job.inputs["model"], dtype=model.dtype, device="cpu") if several.sharded else model
            write_checkpoint(start, layers, update, job.inputs["model"], job.out / "model")
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
    # A search has recorded the cost of all its trials.
    job.cost.update({**cost, **fitted.memory, **job.cost})


def _refuse_too_large(job: Job[Training], chosen: Sequence[Layer]) -> None:
    settings, device = job.spec.train, pick_device(job.spec.device)
    component = component_of(settings.method, job.components)
    method = component.create()
    values: float = sum(method.trained_values(layer, settings) for layer in chosen)
    dtype = pick_dtype(job.spec.dtype, device).dtype
    weights = model_bytes(job.inputs["model"], dtype, nf4=job.spec.quantization == "nf4")
    if world().sharded:  # less than what a process holds: embedding and head are not split
        weights /= world().size
        values /= world().size if component.result == "checkpoint" else 1
    if (why := why_too_large(weights, values, settings, capacity(device))) is not None:
        raise StageFailed(why)


def _fit(
    job: Job[Training],
    model: PreTrainedModel,
    layers: LayerMap,
    chosen: Sequence[Layer],
    kept: Mapping[str, float],
    settings: TrainSettings,
    trained: Items,
    validation: Items | None,
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
        weights = _block_weights(job, chosen) if settings.resample.weights == "scores" else None
        turns = Resampling.plan(chosen, settings.resample, len(batches), job.streams, still=still, weights=weights)
        chosen = turns.layers
    ranks = None if settings.ranks == "equal" else _ranks(job, chosen, settings)
    needed = {}
    if turns is None:
        method = component_of(settings.method, job.components)
        needed["operations"] = operations(model, layers, chosen, settings, method, trained, batches)
    with tuned(
        model,
        chosen,
        settings,
        base=_base(job),
        steps=len(batches),
        streams=job.streams,
        ranks=ranks,
        examples=trained,
        batches=batches,
        components=job.components,
    ) as tuning:
        if turns is not None:
            turns.check(tuning.parameters)
        watch = None if due else RankWatch(work, len(batches), partial(_sizes, tuning, work / "look", layers))
        callbacks = [
            tuning,
            *([] if watch is None else [watch]),
            *([] if turns is None else [InTurn(partial(turns.in_turn, parameters=tuning.parameters))]),
            Milestones({step: partial(_keep, tuning, work, names) for step, names in due.items()}),
            Checkpoints(work, tuning),
            Progress(job.reporter),
        ]
        log = train(
            Workload(tuning.model, tuning.parameters, trained, batches, settings, job.streams, fast=job.spec.fast),
            Optimization.of(settings),
            callbacks,
            last=last if watch is None or watch.stable_at is None else watch.stable_at,
        )
        if watch is not None:
            tuning.save(work / STABLE)
        tuning.assert_moved()
        loss = None if validation is None else _loss(model, tuning, settings, validation, fast=job.spec.fast)
        cost = {
            **_memory(tuning, settings),
            **needed,
            **({"continued_from": continued} if continued else {}),
        }
        drawn, looks = None if turns is None else turns.drawn, None if watch is None else watch.record()
        return Fit(work, log, len(batches), loss, cost, drawn, looks)


def _sizes(tuning: Tuning, folder: Path, layers: LayerMap) -> list[float]:
    """Frobenius norm of the update of every layer as it is now."""
    tuning.save(folder)
    update = read_adapter(folder, layers)
    return [update.norm(layer.name) for layer in layers]


def _ranking(job: Job[Training]) -> tuple[Ranking, tuple[Group, ...]]:
    """The ranking of the arm, and its units."""
    ranking = Ranking.from_json(job.read("ranking", "ranking.json"))
    return ranking, LayerMap.from_json(job.read("layers", "layers.json")).groups(ranking.unit)


def _block_weights(job: Job[Training], chosen: Sequence[Layer]) -> dict[int, float]:
    ranking, groups = _ranking(job)
    return block_weights(ranking.scores, groups, chosen)


def _ranks(job: Job[Training], chosen: Sequence[Layer], settings: TrainSettings) -> dict[str, int]:
    """Ranks of the chosen layers by the ranking of the arm."""
    ranking, groups = _ranking(job)
    if settings.ranks == "budget":
        names = {layer.name for layer in chosen}
        units = {group.name: [layer for layer in group.members if layer.name in names] for group in groups}
        return ranks_by_share(ranking.scores, {name: layers for name, layers in units.items() if layers}, settings.rank)
    # Layers of one unit stand together, in model order.
    place = {name: number for number, name in enumerate(ranking.ordered())}
    places = {layer.name: place[group.name] for group in groups for layer in group.members}
    return ranks_by_order(sorted((layer.name for layer in chosen), key=lambda name: places[name]), settings.rank)


def _loss(model: PreTrainedModel, tuning: Tuning, settings: TrainSettings, examples: Items, *, fast: bool) -> float:
    """Loss of the tuned model, without dropout."""
    tuning.model.eval()
    with (
        fast_lora(model) if fast else nullcontext(),
        reading_runner(model, examples, settings.micro_batch_tokens, fast=fast) as runner,
    ):
        (loss,) = runner.losses([range(len(examples))])
    return loss


def _keep(tuning: Tuning, work: Path, names: Sequence[str]) -> None:
    for name in names:
        # Under `work`, so that a milestone outlives an interruption as the checkpoint behind it does.
        tuning.save(work / name)


def _memory(tuning: Tuning, settings: TrainSettings) -> dict[str, float]:
    """Bytes that this process must hold besides activations: weights, and for what is trained values and their kin."""
    trained = {id(each): local(each).nbytes for each in tuning.parameters.values()}
    size = sum(trained.values())
    frozen = [each for each in tuning.model.parameters() if id(each) not in trained]
    starts = held_starts(tuning.model) if isinstance(tuning.model, PreTrainedModel) else []
    return {
        "weights_memory": sum(map(stored_bytes, frozen)) + sum(local(each).nbytes for each in starts),
        "trained_memory": size,
        "gradient_memory": size,
        "optimizer_memory": round(MOMENT_BYTES[settings.optimizer] * size / 4),
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
