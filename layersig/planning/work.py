"""What every stage asks of the model, were it run: which module counts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layersig.pipeline import Stage
from layersig.planning.evaluation import evaluated, untouched
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes
from layersig.planning.scorers import scored
from layersig.planning.trainings import trained
from layersig.planning.writing import answered, generated

_BY_KIND: Mapping[str, Callable[[Facts, Stage], Passes]] = {
    "reference": trained,
    "tune": trained,
    "recover": trained,
    "score": scored,
    "untouched": untouched,
    "evaluate": evaluated,
    "generate": generated,
    "answer": answered,
}


def passes(facts: Facts, stage: Stage) -> Passes:
    """What a stage asks of the model; nothing for stages that run none."""
    count = _BY_KIND.get(stage.kind)
    return Passes() if count is None else count(facts, stage)
