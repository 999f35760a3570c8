"""Training curves of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from layersig.findings.files import LossPoint
from layersig.recipe.schema import ALL_LAYERS, Recipe
from layersig.records import Cell
from layersig.topics.training.rows import LossRow

MOST_POINTS = 50


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
