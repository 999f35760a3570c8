"""Resolve a checked recipe: write out defaults and controls, as TOML; compute its id; shorten it for `--smoke`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layersig.plugin.components import Component
from layersig.plugin.table import Components
from layersig.recipe.schema import (
    AboutSettings,
    Arm,
    Choice,
    FilterSettings,
    GenerateSettings,
    Recipe,
    ScorerChoice,
    SearchSettings,
    TrainSettings,
)
from layersig.recipe.schema.arms import Control, Selecting, default_primary, missing_controls, with_controls

SMOKE_STEPS = 2
SMOKE_ITEMS = 4
SMOKE_ROWS = 24
SMOKE_TRAINED = 8
SMOKE_TOKENS = 16
_BEFORE_AND_AFTER = ("warmup_ratio", "tinit", "tfinal")
"""Keys of a training that leave nothing of two steps: the first of a warm-up moves nothing."""


def with_defaults(recipe: Recipe, components: Components) -> Recipe:
    """The recipe with every parameter of its scorers, policies, tuning method and objective written out.

    Raises:
        UserError: A component is unknown.
        pydantic.ValidationError: A parameter is wrong.
    """
    scorers = {
        name: choice.with_params(_in_full(components.get("scorer", choice.kind), choice))
        for name, choice in recipe.scorers.items()
    }
    selecting = [_selecting(recipe, arm) for arm in recipe.arms]
    primary = recipe.analyze.primary
    if primary is None:
        primary = default_primary(selecting, (sweep.entries for sweep in recipe.sweeps if sweep.of == "arms"))
    untrained = bool(recipe.arms) and not any(arm.trains for arm in recipe.arms)
    alone = untrained or not recipe.evaluate.all_layers
    baseline = "base" if alone and "baseline" not in recipe.analyze.model_fields_set else recipe.analyze.baseline
    analyze = recipe.analyze.model_copy(update={"primary": primary, "baseline": baseline})
    train = _train_in_full(recipe.train, components)
    recipe = recipe.model_copy(update={"scorers": scorers, "train": train, "analyze": analyze})
    arms = tuple(_arm_in_full(arm, components) for arm in (*recipe.arms, *_controls(recipe, selecting, primary)))
    return recipe.model_copy(update={"arms": arms})


def _selecting(recipe: Recipe, arm: Arm) -> Selecting:
    """What the controls of an arm depend on."""
    kinds = frozenset(recipe.scorers[name].kind for name in arm.scorers)
    return Selecting(arm.name, {"kind": arm.select.kind, **arm.select.params}, kinds)


def _controls(recipe: Recipe, selecting: Sequence[Selecting], primary: tuple[str, ...]) -> Iterator[Arm]:
    """The controls that arms need and do not have yet."""
    arms = {arm.name: arm for arm in recipe.arms}
    for each in with_controls(selecting, primary, recipe.analyze.controls):
        for control in missing_controls(each, selecting, recipe.analyze.control_sets):
            yield _control(recipe, arms[each.name], control)


def _control(recipe: Recipe, arm: Arm, control: Control) -> Arm:
    """A control of an arm: the same arm, but for what it selects."""
    own: dict[str, Any] = {"name": control.name, "train": _without_scores(arm)}
    protection = _protection(recipe, arm)
    if control.draw is None:
        select = Choice(kind="type-depth", like=arm.name, **_end(arm), **protection)
        own |= {"scorer": arm.scorers[0], "ranked_on": next(iter(arm.rankings_of), None), "select": select}
    else:
        kind = {"fixed": True} if control.fixed else {}
        select = Choice(kind="matched-random", like=arm.name, draw=control.draw, **kind, **protection)
        own |= {"scorer": None, "ranked_on": None, "select": select}
    return arm.model_copy(update=own)


def _without_scores(arm: Arm) -> dict[str, Any]:
    """The `train` of an arm's controls, which have no scores to assign ranks or turns by."""
    kept = {key: value for key, value in arm.train.items() if key != "ranks"}
    if isinstance(resample := kept.get("resample"), dict):
        kept["resample"] = {key: value for key, value in resample.items() if key != "weights"}
    return kept


def _end(arm: Arm) -> dict[str, Any]:
    """The end of the fitted ranking from which the rule selects: the same as for the arm that it controls."""
    return {"end": "lowest"} if arm.select.kind == "lowest" else {}


def _protection(recipe: Recipe, arm: Arm) -> dict[str, Any]:
    """Protected blocks of an arm, by its policy or its scorer; its controls must not take them either."""
    if arm.select.kind != "lowest":
        return {}
    blocks = {*arm.select.params.get("protect", ()), *recipe.scorers[arm.scorers[0]].params.get("protect", ())}
    return {"protect": sorted(blocks)} if blocks else {}


def _train_in_full(train: TrainSettings, components: Components) -> TrainSettings:
    named = components.get("method", train.method), components.get("objective", train.objective)
    own = {
        each.name: train.params(each).model_dump(mode="json", exclude_none=True)
        for each in named
        if each.params.model_fields and each.name not in TrainSettings.model_fields
    }
    given = train.model_dump(exclude_unset=True)
    return TrainSettings.model_validate({**given, **own}, strict=False) if own else train


def _arm_in_full(arm: Arm, components: Components) -> Arm:
    if arm.checkpoint is not None:
        return arm
    policy = components.get("policy", arm.select.kind)
    return arm.model_copy(update={"select": Choice(kind=arm.select.kind, **_in_full(policy, arm.select))})


def _in_full(component: Component, choice: Choice) -> dict[str, Any]:
    return component.parse(choice.params).model_dump(mode="json", exclude_none=True)


def smoke(recipe: Recipe) -> Recipe:
    """The recipe made as short as possible while every stage still runs: a separate recipe, with another id.

    Trainings (without warm-up) and scorers with `steps` or `batches` take 2, a task has 4 items, a data set 24
    conversations (8 to train on where `train_limit` is given), a self-generated response 16 tokens.
    """
    return recipe.model_copy(
        update={
            "data": tuple(
                data.model_copy(
                    update={
                        "limit": min(data.limit or SMOKE_ROWS, SMOKE_ROWS),
                        "heldout": min(data.heldout, SMOKE_ITEMS) if isinstance(data.heldout, int) else data.heldout,
                        "train_limit": data.train_limit and min(data.train_limit, SMOKE_TRAINED),
                        "generate": _short_generation(data.generate),
                    }
                )
                for data in recipe.data
            ),
            "train": recipe.train.model_copy(update=_short_training(recipe.train)),
            "scorers": {name: _short(choice) for name, choice in recipe.scorers.items()},
            "arms": tuple(_short_arm(arm) for arm in recipe.arms),
            "evaluate": recipe.evaluate.model_copy(
                update={
                    "tasks": tuple(
                        task.model_copy(update={"limit": min(task.limit or SMOKE_ITEMS, SMOKE_ITEMS)})
                        for task in recipe.evaluate.tasks
                    ),
                    "conversations": tuple(
                        each.model_copy(update={"limit": min(each.limit or SMOKE_ITEMS, SMOKE_ITEMS)})
                        for each in recipe.evaluate.conversations
                    ),
                    "answers": recipe.evaluate.answers.model_copy(
                        update={"max_new_tokens": min(recipe.evaluate.answers.max_new_tokens, SMOKE_TOKENS)}
                    ),
                }
            ),
        }
    )


def _short_generation(settings: GenerateSettings | None) -> GenerateSettings | None:
    """Without filters, which might drop all responses that are this short."""
    if settings is None:
        return None
    tokens = min(settings.max_new_tokens, SMOKE_TOKENS)
    return settings.model_copy(update={"max_new_tokens": tokens, "filters": FilterSettings()})


def _short_training(train: TrainSettings) -> dict[str, Any]:
    return {
        "epochs": None,
        "steps": SMOKE_STEPS,
        "search": _short_search(train.search),
        "adalora": train.adalora.model_copy(update={"tinit": 0, "tfinal": 0}),
        "warmup_ratio": 0.0,
    }


def _short_search(search: SearchSettings | None) -> SearchSettings | None:
    """Two learning rates, and no lengths, since all trainings are short; no search where it is one of lengths alone."""
    if search is None or len(search.learning_rates) < 2:
        return None
    return search.model_copy(update={"learning_rates": search.learning_rates[:2], "epochs": ()})


def _short(choice: ScorerChoice) -> ScorerChoice:
    params = {
        key: min(value, SMOKE_STEPS) if key in {"steps", "batches", "remove", "skip"} else value
        for key, value in choice.params.items()
    }
    if isinstance(tasks := params.get("tasks"), list):
        params["tasks"] = [{**task, "limit": min(task.get("limit") or SMOKE_ITEMS, SMOKE_ITEMS)} for task in tasks]
    return choice.model_copy(update={"train": _unmeasured(choice.train)}).with_params(params)


def _short_arm(arm: Arm) -> Arm:
    recover = None if arm.recover is None else _unmeasured(arm.recover)
    return arm.model_copy(update={"train": _unmeasured(arm.train), "recover": recover})


def _unmeasured(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of an arm's `train` without a length, and what goes by one, so that the short one of `[train]` applies."""
    return {
        key: 0 if key in _BEFORE_AND_AFTER else _unmeasured(value) if key == "adalora" else value
        for key, value in keys.items()
        if key not in {"epochs", "steps"}
    }


def to_toml(recipe: Recipe) -> str:
    """The recipe with every default; loading it gives an equal recipe. Keys without a value are left out."""
    import tomlkit

    document = tomlkit.document()
    unsaid = {"about"} if recipe.about == AboutSettings() else set()
    values = recipe.model_dump(mode="json", exclude_none=True, exclude=unsaid)
    tables = {"data", "arms", "sweeps"}
    for key, value in values.items():
        if not isinstance(value, dict) and key not in tables:
            document.add(key, _inline(value))
    for key, value in values.items():
        if key in tables:
            entries = tomlkit.aot()
            for entry in value:
                entries.append(_table(entry))
            if value:
                document.add(key, entries)
        elif key == "scorers":
            scorers = tomlkit.table(is_super_table=True)
            for name, choice in value.items():
                scorers.add(name, _table(choice))
            document.add(key, scorers)
        elif isinstance(value, dict):
            document.add(key, _table(value))
    return tomlkit.dumps(document)


def _table(values: Mapping[str, Any]) -> Any:
    import tomlkit

    table = tomlkit.table()
    for key, value in values.items():
        table.add(key, _inline(value))
    return table


def _inline(value: Any) -> Any:
    import tomlkit

    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        for key, each in value.items():
            inline.add(key, _inline(each))
        return inline
    if isinstance(value, list):
        # Appending entries one by one takes quadratic time.
        return tomlkit.array(f"[{', '.join(_inline(each).as_string() for each in value)}]")
    return tomlkit.item(value)


def recipe_id(recipe: Recipe) -> str:
    """12 hex digits of the sha256 of the recipe's canonical JSON; relative sources are hashed as written.

    `[about]` is left out: a statement added later belongs to the same run.
    """
    values = recipe.model_dump(mode="json", exclude={"about"})
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
