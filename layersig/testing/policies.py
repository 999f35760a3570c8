"""The rules that every policy must keep."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from layersig.layers import Unit
from layersig.models.isolation import isolated
from layersig.plugin.components import Component
from layersig.testing.contents import check_parameters, component_of
from layersig.testing.study import TinyStudy

_READ = {"none": (0,), "one": (1,), "some": (1, 2)}


def check_policy(
    target: object, params: Mapping[str, Any] | None = None, *, units: Collection[str] = tuple(Unit)
) -> None:
    """Check on the layers of a tiny model that a policy keeps the rules.

    Its parameters parse, unknown ones are refused, and they have a JSON schema. For every unit it chooses at least one
    unit and nothing else, the same twice, whatever the global random generators hold; rankings are left as they were. A
    policy that does not declare `seeded` chooses the same for every seed. One that reads rankings is tried with as many
    as it declares; one with a parameter `like` gets a selection of every third layer.

    Args:
        target: A function or class decorated with `@policy`.
        params: Its parameters, as a recipe gives them.
        units: What scores may cover, of `module`, `block` and `part`.

    Raises:
        pydantic.ValidationError: `params` are refused.
        UserError: What a run would refuse: no unit is chosen, or something that is no unit.
        AssertionError: Any other rule is broken; the message says which.
    """
    component, given = component_of(target, "policy"), dict(params or {})
    if component.reads_selection:
        given.setdefault("like", "other")
    check_parameters(component, given)
    with TemporaryDirectory() as folder:
        study = TinyStudy(Path(folder))
        for unit in units:
            for count in _READ[component.rankings]:
                _check(study, component, given, unit, count)


def _check(study: TinyStudy, component: Component, given: Mapping[str, Any], unit: str, count: int) -> None:
    names = [group.name for group in study.layers.groups(Unit(unit))]
    rankings = [
        dict(zip(names, np.random.default_rng(number).permutation(len(names)).tolist(), strict=True))
        for number in range(count)
    ]
    before = copy.deepcopy(rankings)
    like = study.layers.names[::3] if component.reads_selection else None

    def chosen(seed: int) -> tuple[str, ...]:
        return study.selection(component, given, rankings=rankings, like=like, unit=unit, seed=seed)

    with isolated(1):
        first = chosen(0)
    assert rankings == before, f"{component.label} changed a ranking that it reads"
    with isolated(2):
        assert chosen(0) == first, (
            f"{component.label} chose differently the second time; draw from `context.streams`, not from global "
            "generators"
        )
    if not component.seeded:
        assert chosen(1) == first, f"{component.label} depends on the seed; declare it with `seeded=True`"
