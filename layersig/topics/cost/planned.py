"""Planned cost beside measured cost, by kind of stage and in total."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from layersig.store.runfolder import ManifestForm
from layersig.topics.cost.rows import PlannedCostRow

EVERY_KIND = "all"


class _Quantity(NamedTuple):
    """Something that is planned and measured: its names, and how the stages of a kind are taken together."""

    name: Literal["time", "peak memory", "disk", "verdicts"]
    planned: str
    measured: str
    combined: Callable[[Sequence[float]], float]


_QUANTITIES = (
    _Quantity("time", "seconds", "seconds", sum),
    _Quantity("peak memory", "memory", "peak_memory", max),
    _Quantity("disk", "disk", "disk", sum),
    _Quantity("verdicts", "calls", "calls", sum),
)


def planned_cost_rows(manifest: ManifestForm) -> Iterator[PlannedCostRow]:
    """What stages of every kind, and all of them, were planned to take and took; none of a run without a plan."""
    record = manifest.get("planned_costs")
    if record is None:
        return
    planned: dict[str, Mapping[str, Any]] = {stage["id"]: stage for stage in record["stages"]}
    done: list[Mapping[str, Any]] = [stage for stage in manifest["stages"] if stage["status"] == "done"]
    for kind in (*dict.fromkeys(stage["kind"] for stage in done), EVERY_KIND):
        own = [stage for stage in done if kind in (stage["kind"], EVERY_KIND)]
        for quantity in _QUANTITIES:
            yield from _row(kind, quantity, own, planned)


def _row(
    kind: str, quantity: _Quantity, done: Sequence[Mapping[str, Any]], planned: Mapping[str, Mapping[str, Any]]
) -> Iterator[PlannedCostRow]:
    known = [
        stage
        for stage in done
        if quantity.measured in stage and planned.get(stage["id"], {}).get(quantity.planned) is not None
    ]
    expected = [planned[stage["id"]][quantity.planned] for stage in known]
    took = [stage[quantity.measured] for stage in known]
    if any(expected) or any(took):
        total, measured = float(quantity.combined(expected)), float(quantity.combined(took))
        yield PlannedCostRow(
            kind=kind,
            quantity=quantity.name,
            stages=len(known),
            others=len(done) - len(known),
            planned=total,
            at_most=quantity.name == "time" and any(planned[stage["id"]]["at_most"] for stage in known),
            measured=measured,
            ratio=measured / total if total else None,
        )
