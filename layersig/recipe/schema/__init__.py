"""The recipe as typed, frozen data: the one place that defines its keys, defaults and limits.

Defaults marked "paper" are from "Understanding Layer Significance in LLM Alignment" (arXiv 2410.17875), appendix B.
Those marked "ours" are choices of this project where the paper gives no value.

- `common`: the base class of tables, and types of names and sources
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
from layersig.recipe.schema.arms import (
    ALL_LAYERS,
    BASE,
    CONTROL_KINDS,
    RESERVED_ARMS,
    Arm,
    Choice,
    ScorerChoice,
    UpdateSettings,
    is_control,
)
from layersig.recipe.schema.common import (
    AUTO_BATCH_ON_CPU,
    AUTO_TOKENS_ON_CPU,
    DATA_SCHEMES,
    DEVICE_PATTERN,
    ENDPOINT_PATTERN,
    LEAST_AUTO_TOKENS,
    MODEL_SCHEMES,
    NAME_PATTERN,
    SOURCE_PATTERN,
    UPDATE_SCHEMES,
    VARIABLE_PATTERN,
    Name,
    Table,
    TokenBudget,
)
from layersig.recipe.schema.materials import (
    DataSettings,
    FieldSettings,
    FilterSettings,
    GenerateSettings,
    LayerSettings,
    ModelSettings,
    NamedModel,
    ServerSettings,
)
from layersig.recipe.schema.measuring import (
    AnalyzeSettings,
    AnswerSettings,
    ConversationSettings,
    EvaluateSettings,
    JudgeSettings,
    LooksSettings,
    Task,
    TaskSettings,
)
from layersig.recipe.schema.sweeps import SweepSettings
from layersig.recipe.schema.tuning import (
    MOMENT_BYTES,
    STANDARD_MILESTONES,
    AdaLoraSettings,
    Optimizer,
    ResampleSettings,
    SearchSettings,
    TrainSettings,
    completed,
)

__all__ = [
    "ALL_LAYERS",
    "AUTO_BATCH_ON_CPU",
    "AUTO_TOKENS_ON_CPU",
    "BASE",
    "CONTROL_KINDS",
    "DATA_SCHEMES",
    "DATE_PATTERN",
    "DEVICE_PATTERN",
    "ENDPOINT_PATTERN",
    "LEAST_AUTO_TOKENS",
    "MODEL_SCHEMES",
    "MOMENT_BYTES",
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
    "LooksSettings",
    "ModelSettings",
    "NamedModel",
    "Optimizer",
    "Recipe",
    "ResampleSettings",
    "ScorerChoice",
    "SearchSettings",
    "ServerSettings",
    "SweepSettings",
    "Task",
    "TaskSettings",
    "TokenBudget",
    "TrainSettings",
    "UpdateSettings",
    "completed",
    "is_control",
]


class Recipe(Table):
    """A recipe: a grid of arms x data sets x seeds over one model."""

    name: Name
    """Name of the study, and of its folder in the folder of runs."""
    description: str = ""
    """The question of the study; shown in the report."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    """Seeds of data order, adapter initialisation and dropout. Each seed repeats every training."""
    root_seed: int = Field(0, ge=0)
    """Root of every random stream. Splits and evaluation items depend on it alone."""
    plugins: tuple[str, ...] = ()
    """Plugin files relative to the recipe, such as `./my_scorer.py`."""
    model: ModelSettings
    """The pretrained model; with `[[models]]`, the keys that they share."""
    models: tuple[NamedModel, ...] = Field((), exclude=True)
    """Several models: `layersig run` runs the recipe on each, and reports how far their rankings agree."""
    layers: LayerSettings = LayerSettings()
    """What counts as a layer, and what one score covers."""
    data: tuple[DataSettings, ...] = Field(min_length=1)
    """One or more data sets to fine-tune on."""
    train: TrainSettings = TrainSettings()
    """How models are fine-tuned."""
    update: UpdateSettings | None = None
    """An external update, which scorers read instead of that of the reference training."""
    scorers: dict[Name, ScorerChoice] = {}
    """Scorers, by the names that arms and results use."""
    arms: tuple[Arm, ...] = ()
    """The arms to compare, in addition to `base` and `all-layers`."""
    sweeps: tuple[SweepSettings, ...] = ()
    """Curves over a quantity in which arms or data sets differ; a `grid` adds its curves automatically."""
    evaluate: EvaluateSettings = EvaluateSettings()
    """What arms are measured on; in a recipe without arms, the untouched model and `all-layers`."""
    judge: JudgeSettings | None = None
    """The model that grades the answers to `evaluate.conversations`."""
    analyze: AnalyzeSettings = AnalyzeSettings()
    """How arms and rankings are compared."""
    about: AboutSettings = AboutSettings()
    """Statements that reviewers ask for and that no record of a run contains."""

    @property
    def measures(self) -> bool:
        """Whether models are measured: arms, or the untouched model and all layers on what `[evaluate]` names."""
        return bool(self.arms or self.evaluate.tasks or self.evaluate.conversations)

    def is_control(self, arm: Arm) -> bool:
        """Whether an arm selects without regard to single layers of the model."""
        return is_control(arm.select.kind, {self.scorers[name].kind for name in arm.scorers if name in self.scorers})

    def training_of(self, of: Arm | ScorerChoice) -> TrainSettings:
        """The recipe's `[train]`, overridden by the keys of an arm (its `train` or `recover`) or of a scorer.

        So are the tables in it, key by key.
        """
        own = of.recover if isinstance(of, Arm) and of.recover is not None else of.train
        shared = self.train.model_dump(exclude_defaults=True)
        merged = {**shared, **completed(own, shared)}
        if {"epochs", "steps"} & own.keys():
            merged = {key: value for key, value in merged.items() if key not in {"epochs", "steps"} - own.keys()}
        return TrainSettings.model_validate_json(json.dumps(merged))
