"""The stage that turns rankings into a selection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from layersig.errors import UserError
from layersig.layers import Group, LayerMap, Unit
from layersig.plugin.components import Component
from layersig.records import Ranking, Selection
from layersig.selecting.context import SelectionContext
from layersig.selecting.costs import Arithmetic
from layersig.stages.job import Job
from layersig.stages.kinds import Select


def select(job: Job[Select]) -> None:
    """Let a policy select; see `Select`.

    Raises:
        UserError: The policy chose nothing, or names that are no units of the model.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    groups = layers.groups(Unit(job.spec.unit))
    component, *methods = job.components
    context = SelectionContext(
        groups=groups,
        rankings={
            role.removeprefix("ranking/"): Ranking.from_json(job.read(role, "ranking.json"))
            for role in job.inputs
            if role.startswith("ranking/")
        },
        like=Selection.from_json(job.read("like", "selection.json")) if "like" in job.inputs else None,
        streams=job.streams,
        params=component.parse(job.spec.params),
        arithmetic=_arithmetic(job, groups, *methods) if component.costs else None,
    )
    chosen = checked(component, groups, component.create().select(context))
    job.write("selection.json", selection_of(layers, groups, chosen).to_json())


def checked(component: Component, groups: Sequence[Group], chosen: Any) -> frozenset[str]:
    """Names of units, as a policy gave them.

    Raises:
        UserError: They are no names of units, or there are none.
    """
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise UserError(f"{component.label} must return names of units, got {type(chosen).__name__}")
    names = frozenset(chosen)
    if unknown := sorted(map(str, names - {group.name for group in groups})):
        raise UserError(f"{component.label} chose {unknown[0]!r}, which is no layer here")
    if not names:
        raise UserError(f"{component.label} chose no layer at all")
    return names


def selection_of(layers: LayerMap, groups: Sequence[Group], chosen: frozenset[str]) -> Selection:
    """The layers of the chosen units, in model order."""
    members = [layer for group in groups if group.name in chosen for layer in group.members]
    kept = {layer.name for layer in members}
    names = tuple(name for name in layers.names if name in kept)
    return Selection(names, sum(layer.parameters for layer in members))


def _arithmetic(job: Job[Select], groups: tuple[Group, ...], method: Component) -> Arithmetic:
    """What training the units costs, by the method and settings of the arm."""
    from layersig.models.config import read_config

    settings = job.spec.train
    assert settings is not None, "given where the policy reads costs"
    return Arithmetic.of(groups, method, settings, read_config(job.inputs["model"]))
