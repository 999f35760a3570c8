"""Training curves and costs of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from layersig.findings.files import LossPoint
from layersig.findings.rows import CostRow, CostSumRow, LossRow
from layersig.recipe.schema import RESERVED_ARMS, Recipe
from layersig.records import Cell

MOST_POINTS = 50
ALL_LAYERS = RESERVED_ARMS[1]


def loss_rows(
    points: Iterable[LossPoint], recipe: Recipe, label_of: Callable[[str | None], str | None]
) -> tuple[LossRow, ...]:
    """The loss of every training, averaged over stretches so that a curve has at most 50 points."""
    curves: dict[str, dict[int, float]] = {}
    for point in points:
        curves.setdefault(point.cell, {})[point.step] = point.loss
    rows = []
    for cell, by_step in curves.items():
        label = _label(cell, recipe)
        steps = np.array(sorted(by_step))
        for stretch in np.array_split(steps, min(steps.size, MOST_POINTS)):
            rows.append(
                LossRow(
                    cell=cell,
                    training="scorer" if label.arm is None else "arm",
                    name=label.arm or label.scorer or "",
                    data=label_of(label.data),
                    seed=label.seed,
                    step=int(stretch[-1]),
                    loss=float(np.mean([by_step[int(step)] for step in stretch])),
                    steps=stretch.size,
                )
            )
    return tuple(rows)


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


def _label(cell: str, recipe: Recipe) -> Cell:
    """Read the label of a training back: `[ARM or SCORER/]DATA[/seed-K]`; the reference bears no name."""
    parts = [part for part in cell.split("/") if not part.startswith("at-")]
    seed = int(parts.pop().removeprefix("seed-")) if re.fullmatch(r"seed-\d+", parts[-1]) else None
    data = parts.pop() if parts else None
    name = parts[0] if parts else ALL_LAYERS
    if len(parts) > 1 and name == ALL_LAYERS:
        return Cell(arm=f"{name} for {parts[1]}", data=data, seed=seed)
    if name in recipe.scorers and name not in {arm.name for arm in recipe.arms}:
        return Cell(scorer=name, data=data, seed=seed)
    return Cell(arm=name, data=data, seed=seed)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
