"""Training objectives: one small file each, and each a registered component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from layersig.objectives.base import Objective, PairObjective
from layersig.plugin.components import Component
from layersig.plugin.manager import built_in
from layersig.recipe.schema import TrainSettings

if TYPE_CHECKING:
    from layersig.data.pairs import Items

__all__ = ["Objective", "PairObjective", "learnt", "objective_of"]


def objective_of(name: str, components: Iterable[Component]) -> Component:
    """The objective of that name: one of `components`, or a built-in one.

    Raises:
        UserError: There is none.
    """
    given = (each for each in components if (each.kind, each.name) == ("objective", name))
    return next(given, None) or built_in().get("objective", name)


def learnt(
    settings: TrainSettings, inputs: Mapping[str, Path], split: str, components: Iterable[Component] = ()
) -> Items:
    """What a training reads of a side of its data, by the objective of `settings`.

    Args:
        settings: Objective and its parameters.
        inputs: Inputs of a stage: `data`, and `untouched` where the objective reads the reference.
        split: `train` or `heldout`.
        components: Objectives that are not built in.
    """
    component = objective_of(settings.objective, components)
    objective: Objective = component.create()
    return objective.examples(settings.params(component), inputs["data"], split, inputs.get("untouched"))
