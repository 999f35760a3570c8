"""The stage that asks a scorer for its ranking and checks what it says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

from layersig.errors import UserError
from layersig.jsonform import jsonl
from layersig.layers import LayerMap, Unit
from layersig.plugin.components import Component
from layersig.records import ABLATIONS, Ranking, not_finite
from layersig.scoring.context import ScoringContext
from layersig.stages.job import Job
from layersig.stages.kinds import Score


def score(job: Job[Score]) -> None:
    """Let a scorer rank; see `Score`.

    Raises:
        UserError: Its scores do not cover every unit, or are not finite numbers; or it changed the model.
    """
    component, *_ = job.components
    if stream := job.spec.stream:
        job = replace(job, streams=job.streams.branch("scoring", stream))
    unit = Unit(component.unit or job.spec.unit)
    groups = LayerMap.from_json(job.read("layers", "layers.json")).groups(unit)
    with ScoringContext(job, component, groups) as context:
        scores = component.create().score(context)
    ranking = checked(component, unit, [group.name for group in groups], scores)
    job.write("ranking.json", replace(ranking, coverage=context.coverage).to_json())
    if context.trajectory:
        (job.out / "trajectory.jsonl").write_text(jsonl(context.trajectory), encoding="utf-8")
    if (job.work / ABLATIONS).is_dir():
        shutil.copytree(job.work / ABLATIONS, job.out / ABLATIONS)


def checked(component: Component, unit: Unit, names: list[str], scores: Any) -> Ranking:
    """Scores as a ranking in model order.

    Raises:
        UserError: They are no mapping of every unit to a finite number.
    """
    if not isinstance(scores, Mapping):
        raise UserError(f"{component.label} must return a mapping from layer to score, got {type(scores).__name__}")
    missing = [name for name in names if name not in scores]
    if missing:
        raise UserError(f"{component.label} gave no score for {len(missing)} of {len(names)} layers: {missing[0]}, ...")
    unknown = sorted(str(name) for name in scores.keys() - set(names))
    if unknown:
        raise UserError(f"{component.label} scored {unknown[0]!r}, which is no layer of the model")
    wrong = [name for name in names if not isinstance(scores[name], Real)]
    if wrong:
        raise UserError(
            f"{component.label} gave {wrong[0]} a {type(scores[wrong[0]]).__name__}; scores are numbers "
            "(call `.item()` on tensors)"
        )
    ordered = {name: float(scores[name]) for name in names}
    bad = not_finite(ordered)
    if bad:
        raise UserError(f"{component.label} gave {bad[0]} the score {ordered[bad[0]]}; every score must be finite")
    return Ranking(unit, ordered)
