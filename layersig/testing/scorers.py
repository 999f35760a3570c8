"""The rules that every scorer must keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from layersig.layers import Unit
from layersig.models.isolation import isolated
from layersig.testing.contents import check_parameters, component_of
from layersig.testing.study import TinyStudy


def check_scorer(
    target: object, params: Mapping[str, Any] | None = None, *, units: Collection[str] = tuple(Unit)
) -> None:
    """Check on a tiny model that a scorer keeps the rules.

    Its parameters parse, unknown ones are refused, and they have a JSON schema. For every unit its scores cover all
    layers, are finite, and come out the same twice, whatever the global random generators hold; weights, hooks and
    update are left bit for bit as they were. A scorer that neither reads data nor declares `seeded` gives the same to
    every seed.

    Args:
        target: A function or class decorated with `@scorer`.
        params: Its parameters, as a recipe gives them.
        units: What scores may cover, of `module`, `block` and `part`; a scorer with a unit of its own is tried with
            that one.

    Raises:
        pydantic.ValidationError: `params` are refused.
        UserError: What a run would refuse: a layer without a score, one that is not finite, or something used that is
            not in `needs`.
        AssertionError: Any other rule is broken; the message says which.
    """
    component, given = component_of(target, "scorer"), dict(params or {})
    check_parameters(component, given)
    with TemporaryDirectory() as folder:
        study = TinyStudy(Path(folder))
        for unit in [component.unit] if component.unit else units:
            with isolated(1):
                first = study.ranking(target, given, unit=unit)
            with isolated(2):
                second = study.ranking(target, given, unit=unit)
            assert first == second, (
                f"{component.label} gave two rankings for one seed; draw from `context.stream(name)`, not from global "
                "generators"
            )
            if not (component.reads_data or component.seeded):
                assert study.ranking(target, given, unit=unit, seed=1) == first, (
                    f"{component.label} depends on the seed; declare it with `seeded=True`"
                )
