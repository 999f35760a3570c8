"""Checks of `[[arms]]`: the rankings and policies that they read, and what is done with their layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from layersig.plugin.table import Components, suggestion
from layersig.recipe.checks.components import component
from layersig.recipe.checks.rankings import ranked_on_checks, ranking_checks
from layersig.recipe.checks.training_keys import train_keys
from layersig.recipe.checks.values import arm_names, one_or_more, table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import RESERVED_ARMS
from layersig.recipe.schema.arms import NO_SELECTION

_UNTRAINED: Mapping[str, str] = {
    "graft": "a grafted arm is not trained; remove `train`",
    "prune": "a pruned arm is trained by `recover`; move the keys there",
}


def arm_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of references to scorers, policies, data sets and arms, and of keys that do not fit the action."""
    arms = dict(tables_at(data, "arms"))
    names = dict.fromkeys(arm_names(data))
    brought = {name for arm in arms.values() if "checkpoint" in arm and isinstance(name := arm.get("name"), str)}
    for number, arm in arms.items():
        path = ("arms", number)
        if "checkpoint" in arm:
            yield from _brought(arm, path)
            continue
        if "select" not in arm:
            yield Fault((*path, "select"), "missing; give a policy, or the `checkpoint` of a model made elsewhere")
        yield from _training(arm, path, table_at(data, "train"))
        if arm.get("action") == "prune":
            yield from _pruning(arm, path, data, components)
        yield from _choice(arm, path, data, components, [name for name in names if name not in brought])
    yield from _circles(arms)


def _brought(arm: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    """Faults of an arm with a `checkpoint`: it selects nothing and is not trained."""
    for key in ("scorer", "ranked_on", "select", "action", "train", "recover", "patch"):
        given = arm.get(key)
        if key in arm and given not in (NO_SELECTION.model_dump(), {}) and (key, given) != ("action", "tune"):
            yield Fault((*path, key), f"an arm with a `checkpoint` is evaluated as it is; remove `{key}`")


def _training(arm: Mapping[str, Any], path: KeyPath, shared: Mapping[str, Any]) -> Iterator[Fault]:
    action, keys, recover = arm.get("action"), arm.get("train"), arm.get("recover")
    if keys and isinstance(action, str) and action in _UNTRAINED:
        yield Fault((*path, "train"), _UNTRAINED[action])
    elif isinstance(keys, dict):
        yield from train_keys(keys, (*path, "train"), shared)
    if recover is not None and action != "prune":
        yield Fault((*path, "recover"), 'only an arm with `action = "prune"` can recover; remove `recover`')
    elif isinstance(recover, dict):
        yield from train_keys(recover, (*path, "recover"), shared)
    if arm.get("patch") is not None and action != "prune":
        yield Fault((*path, "patch"), 'only an arm with `action = "prune"` has cuts to patch; remove `patch`')
    if arm.get("recover_on", "all") != "all" and recover is None:
        yield Fault((*path, "recover_on"), "says what `recover` trains, which is not there; add `recover = {}`")


def _pruning(arm: Mapping[str, Any], path: KeyPath, data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of an arm that prunes: its scores must be those of blocks."""
    layers, scorers = table_at(data, "layers"), table_at(data, "scorers")
    if layers.get("head"):
        yield Fault(
            ("layers", "head"), "the head is no block and cannot be pruned; remove this key, or the arms that prune"
        )
    for name in one_or_more(arm.get("scorer")):
        kind = table_at(scorers, name).get("kind") if isinstance(name, str) else None
        if kind not in components.names("scorer"):
            continue
        if "block" not in (layers.get("unit"), components.get("scorer", kind).unit):
            reason = 'does not score blocks, which are what `prune` removes; set layers.unit = "block"'
            yield Fault((*path, "scorer"), f'"{name}" {reason}')


def _choice(
    arm: Mapping[str, Any],
    path: KeyPath,
    data: Mapping[str, Any],
    components: Components,
    arms: Collection[str],
) -> Iterator[Fault]:
    """Faults of the policy and of what it reads."""
    named, known = arm.get("scorer"), table_at(data, "scorers")
    scorers = one_or_more(named)
    for number, name in enumerate(scorers):
        if isinstance(name, str) and name not in known:
            place = (*path, "scorer", number) if isinstance(named, list) else (*path, "scorer")
            yield Fault(place, f"there is no [scorers.{name}]{suggestion(name, known)}")
    select = arm.get("select")
    if not isinstance(select, dict):
        return
    policy, faults = component(select, "policy", (*path, "select"), components)
    yield from faults
    if policy is None:
        return
    yield from ranking_checks(policy, scorers, path, given=named is not None)
    sets = [entry["name"] for _, entry in tables_at(data, "data") if isinstance(entry.get("name"), str)]
    yield from ranked_on_checks(policy, arm.get("ranked_on"), path, sets)
    like = select.get("like")
    if policy.reads_selection and isinstance(like, str) and like not in arms:
        if like in (*RESERVED_ARMS, *(each.get("name") for _, each in tables_at(data, "arms"))):
            reason = f'"{like}" selects no layers; name an arm with a policy'
        else:
            reason = f'there is no arm "{like}"{suggestion(like, arms)}'
        yield Fault((*path, "select", "like"), reason)
    if policy.costs and arm.get("action") == "prune":
        reason = f'policy "{policy.name}" counts what training costs, and this arm removes blocks; take "lowest"'
        yield Fault((*path, "select", "kind"), reason)


def _circles(arms: Mapping[int, dict[str, Any]]) -> Iterator[Fault]:
    named = {number: arm for number, arm in arms.items() if isinstance(arm.get("name"), str)}
    if len({arm["name"] for arm in named.values()}) < len(named):
        return  # reported already; without a valid `like` there is no chain to follow
    likes = {
        arm["name"]: arm["select"]["like"]
        for arm in named.values()
        if isinstance(arm.get("select"), dict) and isinstance(arm["select"].get("like"), str)
    }
    numbers = {arm["name"]: number for number, arm in named.items()}
    seen: set[str] = set()
    for name in numbers:
        chain: list[str] = []
        while name in likes and name not in seen:
            seen.add(name)
            chain.append(name)
            name = likes[name]
        if name in chain:
            way = " -> ".join(f'"{each}"' for each in [*chain[chain.index(name) :], name])
            place = ("arms", numbers[name], "select", "like")
            yield Fault(place, f"these arms refer to one another in a circle: {way}; change one `like`")
