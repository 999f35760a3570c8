"""What recipes must fulfil about tuning: methods that go with the model, keys that go with the method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

from layersig.plugin.components import Kind, Limit, Need
from layersig.plugin.table import Components
from layersig.recipe.checks.methods import method_checks, method_of, trainings
from layersig.recipe.checks.values import baseline_arm, measures, table_at, tables_at, trains
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import TrainSettings
from layersig.recipe.schema.tuning import METHOD_KEYS

_WRITTEN_OUT = {name for name, field in TrainSettings.model_fields.items() if field.default is not None}
_BY_RANKING = ("scores", "budget")
"""Values of `ranks` that read a ranking; the schema refuses what is no value."""


def tuning_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of `[train]`, `[update]` and of the `train` of scorers and arms that show only beside other keys."""
    for path, table in trainings(data):
        yield from method_checks(path, table, components)
        yield from _limits(path, table, data, components)
        yield from _ranks(path, table, data)
        yield from _resampling(path, table, data)
    yield from _unread_updates(data, components)
    yield from _unmoved_updates(data, components)
    yield from _search(data)
    unmeasured = table_at(data, "evaluate").get("all_layers") is False
    if unmeasured and table_at(data, "analyze").get("baseline") == "all-layers":
        reason = 'the baseline is not measured with evaluate.all_layers = false; take "base", or an arm'
        yield Fault(("analyze", "baseline"), reason)
    if table_at(data, "train").get("until") is not None:
        yield from _until(data, components)
    if "update" in data:
        yield from _given_update(data, components)
    for key in ("until", "milestones"):
        if table_at(data, "train").get(key) and not trains_reference(data, components):
            reason = "this recipe has no reference training, since nothing would read it; remove this key"
            yield Fault(("train", key), reason, idle=True)


def _limits(
    path: KeyPath, table: Mapping[str, Any], data: Mapping[str, Any], components: Components
) -> Iterator[Fault]:
    """Keys that a tuning method does not go with: one fault each, in the words of the method."""
    asked: dict[Limit, tuple[bool, KeyPath, str]] = {
        "quantization": (
            "method" in table and table_at(data, "model").get("quantization") == "nf4",
            (*path, "method"),
            'take "lora", or no quantization',
        ),
        "ranks": (table.get("ranks") in _BY_RANKING, (*path, "ranks"), 'remove it, or take method = "lora"'),
        "resample": ("resample" in table, (*path, "resample"), 'take "lora" or "full"'),
        "until": (
            "until" in table and path == ("train",),
            (*path, "until"),
            'take method = "lora" or "adalora", or remove it',
        ),
    }
    method = method_of(table, data, components)
    if method is not None:
        for limit, (wanted, place, remedy) in asked.items():
            if wanted and limit in method.cannot:
                yield Fault(place, f'"{method.name}" {method.cannot[limit]}; {remedy}')


def _ranks(path: KeyPath, table: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Fault]:
    """Ranks by scores where there are none."""
    ranks = table.get("ranks")
    if ranks not in _BY_RANKING:
        return
    if path == ("train",):
        yield Fault((*path, "ranks"), f'"{ranks}" reads the scores of an arm; set it in the `train` of an arm')
    elif path[0] == "scorers":
        yield Fault((*path, "ranks"), "a reference training gives all layers one rank; remove it")
    elif not _has_one_ranking(path, data):
        yield Fault((*path, "ranks"), f'"{ranks}" needs one ranking; name one scorer in `scorer` of the arm')


def _resampling(path: KeyPath, table: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Fault]:
    """Blocks in turns where they cannot take turns, or have no scores to be drawn by."""
    if "resample" not in table:
        return
    if path == ("train",) or path[0] == "scorers":
        yield Fault((*path, "resample"), "the reference training tunes all layers in every step; set it in an arm")
    elif table_at(table, "resample").get("weights") == "scores" and not _has_one_ranking(path, data):
        reason = 'weights = "scores" needs one ranking; name one scorer in `scorer` of the arm'
        yield Fault((*path, "resample", "weights"), reason)


def _has_one_ranking(path: KeyPath, data: Mapping[str, Any]) -> bool:
    """Whether a training is that of an arm that reads one ranking."""
    return path[-1] == "train" and isinstance(data["arms"][path[1]].get("scorer"), str)


def _unread_updates(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Scorers and grafts that would read the update of a method whose update they cannot read."""
    shared = method_of(table_at(data, "train"), data, components)
    for number, arm in tables_at(data, "arms"):
        if arm.get("action") == "graft" and shared is not None and "update" in shared.cannot:
            reason = f'"{shared.name}" {shared.cannot["update"]}; tune the arm, or take another method in [train]'
            yield Fault(("arms", number, "action"), reason)
    for name, choice in table_at(data, "scorers").items():
        kind = choice.get("kind") if isinstance(choice, dict) else None
        if kind not in components.names("scorer") or "update" in data:
            continue
        own = method_of(table_at(choice, "train"), data, components)
        reads = components.get("scorer", kind).needs & {"update", "checkpoints"}
        if reads and own is not None and "update" in own.cannot:
            reason = f'"{own.name}" {own.cannot["update"]}; take a scorer that reads none, or another method'
            yield Fault(("scorers", name, "kind"), reason)


def unread_keys(
    data: Mapping[str, Any], components: Components, together: Callable[[KeyPath, KeyPath], bool]
) -> Iterator[Fault]:
    """Tables of methods and objectives, and keys beside their names, that no training reads which has them.

    Keys may stay that were written beside another name than an override or a grid gives.

    Args:
        data: The values of the recipe.
        components: The components that it may name.
        together: Whether two keys were written in one table: none of them in a grid or an override alone.
    """
    every, shared = list(trainings(data)), table_at(data, "train")
    if shared.keys() >= _WRITTEN_OUT:  # a resolved recipe, which has them all
        return
    usual: dict[Kind, str] = {"method": "lora", "objective": "sft"}
    for kind, default in usual.items():
        known = set(components.names(kind))
        for path, table in every:
            heirs = [each for _, each in every] if path == ("train",) else [table]
            used = {str(each.get(kind, shared.get(kind, default))) for each in heirs}
            if not used <= known:
                continue
            unread = known - used
            if kind == "method" and kind in table:
                unread |= {*METHOD_KEYS}.difference(*(components.get(kind, name).reads for name in used))
            for key in table:
                if key in unread and kind not in table:
                    reason = f'no training with this table has {kind} = "{key}"; set it, or remove the table'
                    yield Fault((*path, key), reason, idle=True)
                elif key in unread and together((*path, kind), (*path, key)):
                    yield Fault((*path, key), f'{kind} "{table[kind]}" does not read it; remove it')


def _unmoved_updates(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Scorers that would read the update after the first step, where that step belongs to a warm-up.

    Where the number of steps follows from the data, the scorer finds out.
    """
    for name, choice in table_at(data, "scorers").items():
        kind = choice.get("kind") if isinstance(choice, dict) else None
        if kind not in components.names("scorer") or "update" in data:
            continue
        own, given = table_at(choice, "train"), choice.get("checkpoint", 1.0)
        length = own if {"epochs", "steps"} & own.keys() else table_at(data, "train")
        steps, warmup = length.get("steps"), {**table_at(data, "train"), **own}.get("warmup_ratio", 0.01)
        if not isinstance(steps, int) or warmup == 0 or "update" not in components.get("scorer", kind).needs:
            continue
        for each in given if isinstance(given, list) else [given]:
            if isinstance(each, int | float) and 0 < each < 1 < steps and round(each * steps) <= 1:
                reason = (
                    f"{each:g} of {steps} steps is the first step, and in a warm-up its learning rate is 0, so no "
                    "layer has moved; read a later checkpoint, or set train.warmup_ratio to 0"
                )
                yield Fault(("scorers", name, "checkpoint"), reason)


def _search(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Keys that would give arms trials of their own, or a trial two lengths."""
    search = table_at(table_at(data, "train"), "search")
    counterparts = {"learning_rate": "learning_rates", "epochs": "epochs", "steps": "epochs", "search": ""}
    for path, table in trainings(data):
        for key in counterparts.keys() & table.keys():
            if path == ("train",) and not (key in ("epochs", "steps") and search.get("epochs")):
                continue
            if path == ("train",):
                yield Fault((*path, key), "the trials of [train.search] have `epochs` of their own; remove it here")
            elif key == "search" and path[0] == "arms":
                yield Fault((*path, key), "every arm has the same trials; put them into [train.search]")
            elif key == "search":
                yield Fault((*path, key), "a scorer reads one training; put the trials into [train.search]")
            elif search.get(counterparts[key]):
                yield Fault((*path, key), "[train.search] gives every arm the same trials; remove it here")


def _until(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """What a training that ends where the ranking is stable cannot be combined with: one fault for each."""
    train, path = table_at(data, "train"), ("train", "until")
    if train.get("schedule", "cosine") != "constant":
        reason = (
            'needs schedule = "constant": under any other, the learning rate at a step depends on the planned length'
        )
        yield Fault(path, reason)
    for key in ("milestones", "search"):
        if train.get(key):
            yield Fault(("train", key), "the training ends where the ranking is stable (`until`); remove one of them")
    arms = [arm for _, arm in tables_at(data, "arms")]
    if measures(data) and table_at(data, "evaluate").get("all_layers", True):
        reason = "saves nothing while `all-layers` takes the whole reference training; set evaluate.all_layers = false"
        yield Fault(path, reason)
    elif any(arm.get("action") == "graft" for arm in arms):
        yield Fault(path, "a graft keeps the update of the whole reference training; tune the arm, or remove it")
    for name, table in table_at(data, "scorers").items():
        if not isinstance(table, dict):
            continue
        if table.get("checkpoint", 1.0) != 1.0:
            reason = "with train.until scorers read the update where the training ended; remove it"
            yield Fault(("scorers", name, "checkpoint"), reason)
        if table.get("train"):
            reason = "only the reference training of [train] ends where its ranking is stable; remove one of them"
            yield Fault(("scorers", name, "train"), reason)
        kind = table.get("kind")
        if kind in components.names("scorer") and "checkpoints" in components.get("scorer", kind).needs:
            reason = f'scorer "{kind}" reads checkpoints of the whole training, which train.until ends early'
            yield Fault(("scorers", name, "kind"), reason)


def _given_update(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """An update from elsewhere that no scorer reads, and scorers that want more of it than it has."""
    if not _reads_any(_scorers(data), {"update"}, components):
        reason = "no scorer reads an update; remove [update], or add a scorer that does"
        yield Fault(("update",), reason, idle=True)
    for name, table in table_at(data, "scorers").items():
        if not isinstance(table, dict):
            continue
        if table.get("checkpoint", 1.0) not in (1, 1.0):
            reason = "the update of [update] has no checkpoints; remove it"
            yield Fault(("scorers", name, "checkpoint"), reason)
        kind = table.get("kind")
        if kind in components.names("scorer") and "checkpoints" in components.get("scorer", kind).needs:
            reason = f'scorer "{kind}" reads checkpoints of a training, which the update of [update] has none of'
            yield Fault(("scorers", name, "kind"), reason)


def trains_reference(data: Mapping[str, Any], components: Components) -> bool:
    """Whether anything reads the reference training of [train]: `Study.trains_reference`, of a recipe as written."""
    arms = [arm for _, arm in tables_at(data, "arms")]
    if (arms and baseline_arm(data) == "all-layers") or any(arm.get("action") == "graft" for arm in arms):
        return True
    trained = any(map(trains, arms)) if arms else measures(data)
    if trained and table_at(data, "evaluate").get("all_layers", True):
        return True
    needs: set[Need] = {"checkpoints"} if "update" in data else {"update", "checkpoints"}
    return _reads_any([each for each in _scorers(data) if not each.get("train")], needs, components)


def _scorers(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in table_at(data, "scorers").values() if isinstance(each, dict)]


def _reads_any(scorers: Iterable[Mapping[str, Any]], needs: Set[Need], components: Components) -> bool:
    """Whether one of some scorers needs one of these; true where a kind is unknown, which is a fault of its own."""
    known, kinds = components.names("scorer"), [each.get("kind") for each in scorers]
    return any(kind not in known or components.get("scorer", kind).needs & needs for kind in kinds)
