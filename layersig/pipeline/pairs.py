"""What learning from pairs reads besides them: their log-probabilities under the untouched model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.study import Study
from layersig.recipe.schema import TokenBudget, TrainSettings
from layersig.records import Cell
from layersig.stages.kinds import Untouched

_BATCH_TOKENS = 8192
"""Padded tokens that go through the model at once for the training side, so that no key of evaluation changes it."""


def untouched_stages(study: Study, data: str) -> Iterator[Stage]:
    """The log-probabilities of both sides of a data set, as far as something reads them."""
    recipe = study.recipe
    trainings = [recipe.train, *(recipe.training_of(arm) for arm in recipe.arms if arm.trains)]
    trainings += [recipe.training_of(choice) for choice in recipe.scorers.values() if choice.train]
    if any(_reads_reference(study, each) for each in trainings):
        yield _untouched(study, data, "train", _BATCH_TOKENS)
    measured = recipe.measures and recipe.evaluate.heldout
    leaks = any(choice.params.get("leak") for choice in recipe.scorers.values())
    if (measured or leaks) and _reads_reference(study, recipe.train):
        yield _untouched(study, data, "heldout", recipe.evaluate.batch_tokens)


def untouched_input(study: Study, settings: TrainSettings, data: str, split: str = "train") -> Mapping[str, Input]:
    """What a training or a scorer reads of them; nothing where its objective reads no reference."""
    return {"untouched": Input(f"untouched/{data}/{split}")} if _reads_reference(study, settings) else {}


def _reads_reference(study: Study, settings: TrainSettings) -> bool:
    return "reference" in study.objective(settings).reads


def _untouched(study: Study, data: str, split: str, batch_tokens: TokenBudget) -> Stage:
    return Stage(
        id=f"untouched/{data}/{split}",
        cell=Cell(data=data),
        spec=Untouched.of(split=split, batch_tokens=batch_tokens, **study.reading),
        inputs={"model": Input("source/model"), "data": Input(f"data/{data}")},
    )
