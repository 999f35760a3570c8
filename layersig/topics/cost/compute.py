"""What the stages of a run cost: time, tokens and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layersig.topics.cost.rows import CostRow, CostSumRow


def cost_rows(manifest: Mapping[str, Any]) -> tuple[CostRow, ...]:
    """Time, tokens and peak memory of every stage, in the manifest's order."""
    return tuple(
        CostRow(
            stage=stage["id"],
            kind=stage["kind"],
            status=stage["status"],
            cached=stage.get("cached", False),
            seconds=stage.get("seconds"),
            tokens=_whole(stage.get("tokens")),
            peak_memory=_whole(stage.get("peak_memory")),
            halved_to=_whole(stage.get("halved_to")),
        )
        for stage in manifest["stages"]
    )


def cost_sum_rows(costs: Sequence[CostRow]) -> tuple[CostSumRow, ...]:
    """The costs summed over the stages of a kind, in the order in which the kinds first occur."""
    rows = []
    for kind in dict.fromkeys(cost.kind for cost in costs):
        members = [cost for cost in costs if cost.kind == kind]
        rows.append(
            CostSumRow(
                kind=kind,
                stages=len(members),
                cached=sum(cost.cached for cost in members),
                seconds=sum(cost.seconds or 0.0 for cost in members),
                seconds_now=sum(cost.seconds or 0.0 for cost in members if not cost.cached),
                tokens=sum(cost.tokens or 0 for cost in members),
                peak_memory=max((cost.peak_memory for cost in members if cost.peak_memory is not None), default=None),
            )
        )
    return tuple(rows)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
