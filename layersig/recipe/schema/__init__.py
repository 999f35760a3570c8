"""The recipe as typed, frozen data; the one place where its keys, defaults and limits are written down.

Defaults marked "paper" are given in "Understanding Layer Significance in LLM Alignment" (arXiv 2410.17875), appendix B;
those marked "ours" are choices of this project where the paper is silent.

- `common`: what the tables share
- `materials`: `[model]`, `[[models]]`, `[layers]`, `[[data]]`
- `tuning`: `[train]`
- `arms`: `[update]`, `[scorers]`, `[[arms]]`
- `measuring`: `[evaluate]`, `[judge]`, `[analyze]`
- `about`: `[about]`
- `sweeps`: `[[sweeps]]`, and `grid` in other tables
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from layersig.recipe.schema.about import DATE_PATTERN, STATEMENT_PATTERN, AboutSettings
from layersig.recipe.schema.arms import RESERVED_ARMS, Arm, Choice, ScorerChoice, UpdateSettings
from layersig.recipe.schema.common import (
    DATA_SCHEMES,
    MODEL_SCHEMES,
    NAME_PATTERN,
    SOURCE_PATTERN,
    UPDATE_SCHEMES,
    Name,
    Table,
)
from layersig.recipe.schema.materials import (
    DataSettings,
    FieldSettings,
    FilterSettings,
    GenerateSettings,
    LayerSettings,
    ModelSettings,
    NamedModel,
)
from layersig.recipe.schema.measuring import (
    ENDPOINT_PATTERN,
    VARIABLE_PATTERN,
    AnalyzeSettings,
    AnswerSettings,
    ConversationSettings,
    EvaluateSettings,
    JudgeSettings,
    Task,
    TaskSettings,
)
from layersig.recipe.schema.sweeps import SweepSettings
from layersig.recipe.schema.tuning import (
    STANDARD_MILESTONES,
    AdaLoraSettings,
    ResampleSettings,
    SearchSettings,
    TrainSettings,
)

__all__ = [
    "DATA_SCHEMES",
    "DATE_PATTERN",
    "ENDPOINT_PATTERN",
    "MODEL_SCHEMES",
    "NAME_PATTERN",
    "RESERVED_ARMS",
    "SOURCE_PATTERN",
    "STANDARD_MILESTONES",
    "STATEMENT_PATTERN",
    "UPDATE_SCHEMES",
    "VARIABLE_PATTERN",
    "AboutSettings",
    "AdaLoraSettings",
    "AnalyzeSettings",
    "AnswerSettings",
    "Arm",
    "Choice",
    "ConversationSettings",
    "DataSettings",
    "EvaluateSettings",
    "FieldSettings",
    "FilterSettings",
    "GenerateSettings",
    "JudgeSettings",
    "LayerSettings",
    "ModelSettings",
    "NamedModel",
    "Recipe",
    "ResampleSettings",
    "ScorerChoice",
    "SearchSettings",
    "SweepSettings",
    "Task",
    "TaskSettings",
    "TrainSettings",
    "UpdateSettings",
]


class Recipe(Table):
    """A whole recipe: a grid of arms x data sets x seeds over one model."""

    name: Name
    """Name of the study, and of its folder below the run root."""
    description: str = ""
    """What the study asks; the report shows it."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    """Values of the seed axis: data order, adapter initialisation, dropout."""
    root_seed: int = Field(0, ge=0)
    """Root of every random stream; splits and evaluation items depend on it alone."""
    plugins: tuple[str, ...] = ()
    """Plugin files relative to the recipe, such as `./my_scorer.py`."""
    model: ModelSettings
    """The pretrained model; with `[[models]]`, what they share."""
    models: tuple[NamedModel, ...] = Field((), exclude=True)
    """Several models instead: `layersig run` runs the recipe on each, and reports how far their rankings agree."""
    layers: LayerSettings = LayerSettings()
    """What counts as a layer."""
    data: tuple[DataSettings, ...] = Field(min_length=1)
    """One or more data sets to fine-tune on."""
    train: TrainSettings = TrainSettings()
    """How models are fine-tuned."""
    update: UpdateSettings | None = None
    """An update from elsewhere, which scorers look at instead of the reference training's."""
    scorers: dict[Name, ScorerChoice] = {}
    """Scorers by the name that arms and results use."""
    arms: tuple[Arm, ...] = ()
    """What is compared, beside `base` and `all-layers`."""
    sweeps: tuple[SweepSettings, ...] = ()
    """Curves over a quantity in which arms or data sets differ; a `grid` in one of those adds its own."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """What arms are measured on."""
    judge: JudgeSettings | None = None
    """Who grades the answers to `evaluate.conversations`."""
    analyze: AnalyzeSettings = AnalyzeSettings()
    """How they are compared."""
    about: AboutSettings = AboutSettings()
    """What reviewers ask and no record can know."""

    def training_of(self, of: Arm | ScorerChoice) -> TrainSettings:
        """The recipe's `[train]` with the own keys of an arm (of its tuning or recovery) or of a scorer over it."""
        own = of.recover if isinstance(of, Arm) and of.recover is not None else of.train
        merged = {**self.train.model_dump(exclude_defaults=True), **own}
        if {"epochs", "steps"} & own.keys():
            merged = {key: value for key, value in merged.items() if key not in {"epochs", "steps"} - own.keys()}
        return TrainSettings.model_validate_json(json.dumps(merged))
