"""The stage that turns rankings into a selection."""

from __future__ import annotations

from layersig.errors import UserError
from layersig.layers import LayerMap, Unit
from layersig.records import Ranking, Selection
from layersig.selecting.context import SelectionContext
from layersig.stages.job import Job
from layersig.stages.kinds import Select


def select(job: Job[Select]) -> None:
    """Let a policy select; see `Select`.

    Raises:
        UserError: The policy chose nothing, or names that are no units of the model.
    """
    layers = LayerMap.from_json(job.read("layers", "layers.json"))
    groups = layers.groups(Unit(job.spec.unit))
    (component,) = job.components
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
    )
    chosen = set(component.create().select(context))
    unknown = sorted(chosen - {group.name for group in groups})
    if unknown:
        raise UserError(f"{component.label} chose {unknown[0]!r}, which is no layer here")
    if not chosen:
        raise UserError(f"{component.label} chose no layer at all")
    members = [layer for group in groups if group.name in chosen for layer in group.members]
    kept = {layer.name for layer in members}
    names = tuple(name for name in layers.names if name in kept)
    job.write("selection.json", Selection(names, sum(layer.parameters for layer in members)).to_json())
