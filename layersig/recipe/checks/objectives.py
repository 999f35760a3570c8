"""What recipes must fulfil about the objectives that their trainings name, and about the data of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.errors import UserError
from layersig.plugin.components import BUILT_IN, Component
from layersig.plugin.table import Components
from layersig.recipe.checks.methods import trainings
from layersig.recipe.checks.values import table_at, tables_at
from layersig.recipe.faults import Fault
from layersig.recipe.schema import TrainSettings


def objective_checks(data: Mapping[str, Any], components: Components) -> Iterator[Fault]:
    """Faults of `objective` in `[train]`, arms and scorers, and of what does not go with pairs."""
    shared = _objective(table_at(data, "train"), components)
    pairs = shared is not None and "pairs" in shared.reads
    taken = {*TrainSettings.model_fields, *components.names("method")}
    for path, table in trainings(data):
        if not isinstance(name := table.get("objective"), str):
            continue
        try:
            objective = components.get("objective", name)
        except UserError as error:
            yield Fault((*path, "objective"), str(error))
            continue
        if objective.origin != BUILT_IN and name in taken:
            reason = f"{objective.label} has the name of a key of [train] or of a method; it needs another"
            yield Fault((*path, "objective"), reason)
        if "pairs" in objective.reads and not pairs and path != ("train",):
            reason = (
                f'"{name}" learns from pairs, and so must [train]: set train.objective = "{name}", and '
                'objective = "sft" where the chosen responses alone are to be learnt'
            )
            yield Fault((*path, "objective"), reason)
    if shared is not None and pairs:
        yield from _beside_pairs(data, shared.name, components)


def _beside_pairs(data: Mapping[str, Any], name: str, components: Components) -> Iterator[Fault]:
    """What cannot be combined with data sets of pairs."""
    for number, entry in tables_at(data, "data"):
        if entry.get("generate") is not None:
            reason = f'generated responses have no rejected ones beside them, which "{name}" needs; remove it'
            yield Fault(("data", number, "generate"), reason)
    for number, arm in tables_at(data, "arms"):
        recover = arm.get("recover")
        own = _objective({"objective": name, **recover}, components) if isinstance(recover, dict) else None
        if own is not None and "pairs" in own.reads:
            reason = f'a pruned model cannot recover by "{own.name}"; add objective = "sft"'
            yield Fault(("arms", number, "recover"), reason)
    for scorer, choice in table_at(data, "scorers").items():
        if isinstance(choice, dict) and choice.get("prompts") is True:
            reason = f'the loss of "{name}" is one of responses, and prompts do not count in it; remove it'
            yield Fault(("scorers", scorer, "prompts"), reason)


def _objective(table: Mapping[str, Any], components: Components) -> Component | None:
    name = table.get("objective", "sft")
    try:
        return components.get("objective", name) if isinstance(name, str) else None
    except UserError:
        return None
