"""Checks of keys of `[train]` inside arms and scorers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from layersig.plugin.table import Components
from layersig.recipe.checks.values import table_at
from layersig.recipe.faults import Fault, faults_of
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import TrainSettings, completed


def train_keys(own: Mapping[str, Any], path: KeyPath, shared: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of keys and values that `[train]` (`shared`) does not know, and of milestones."""
    keys = completed(own, shared)
    try:
        TrainSettings.model_validate_json(json.dumps(keys, default=str))
    except ValidationError as error:
        yield from faults_of(error, TrainSettings, keys, path)
    if "until" in keys:
        yield Fault((*path, "until"), "only the reference training can end early, and only without arms; remove it")
    if "milestones" in keys:
        yield Fault((*path, "milestones"), "milestones belong to the reference training; set them in [train]")


def own_training_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of the `train` of scorers, which asks for a separate reference training."""
    for name, choice in table_at(data, "scorers").items():
        if not isinstance(choice, dict) or not isinstance(choice.get("train"), dict) or not choice["train"]:
            continue
        path = ("scorers", name, "train")
        yield from train_keys(choice["train"], path, table_at(data, "train"))
        kind = choice.get("kind")
        if kind not in components.names("scorer"):
            continue
        if not components.get("scorer", kind).needs & {"update", "checkpoints"}:
            yield Fault(path, f'scorer "{kind}" reads no update of a training; remove it')
        elif "update" in data:
            yield Fault(path, "all scorers read the update of [update]; remove this key, or [update]")
