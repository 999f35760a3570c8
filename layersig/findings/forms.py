"""The forms of the files that findings and reports read from a run folder: the keys that they rely on.

Those of rankings, selections, outcomes, layers, judgements and the manifest are beside what writes them.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, FiniteFloat
from typing_extensions import TypedDict

from layersig.incidents import IncidentsForm
from layersig.jsonform import Number, Open


class AnalysisForm(Open):
    """What every `analysis.json` tells, whichever version wrote it."""

    schema_version: int


class StepForm(Open):
    """A line of `metrics.jsonl`; steps of anything but a training may tell no loss."""

    cell: str
    step: int
    loss: NotRequired[FiniteFloat | None]


class PromptForm(Open):
    """What the first item of a task shows the model."""

    item: str
    texts: list[str]
    answers: list[str]
    cut: NotRequired[bool]


class StabilityForm(Open):
    """Epsilon-stability in the log of a training."""

    epsilon: FiniteFloat
    window: int
    step: int | None
    change: FiniteFloat | None
    noise: FiniteFloat | None


class RankLookForm(Open):
    """A look at the ranking of a training."""

    step: int
    tau: FiniteFloat


class RankStabilityForm(Open):
    """The looks at the ranking of a training that may end where it is stable."""

    tau: FiniteFloat
    in_a_row: int
    looks: list[RankLookForm]
    stable_at: int | None


class TrainedStepForm(Open):
    """A step in the log of a training."""

    tokens: int


class TrainingForm(Open):
    """The log of a training."""

    planned_steps: int
    stability: StabilityForm
    rank_stability: NotRequired[RankStabilityForm]
    steps: list[TrainedStepForm]


class TaskForm(Open):
    """What an evaluation records of a task."""

    n: NotRequired[int]
    rows: NotRequired[int | None]
    shots: NotRequired[int | None]
    split: NotRequired[str | None]
    prompts: NotRequired[str | None]
    prompt: NotRequired[PromptForm]
    higher_is_better: NotRequired[dict[str, bool]]
    incidents: NotRequired[IncidentsForm]


class EvaluationForm(Open):
    """`evaluations/**/results.json`."""

    tasks: dict[str, TaskForm]


class BatchForm(Open):
    """How an evaluation was batched."""

    tokens: int


class ConditionsForm(EvaluationForm):
    """The same, where it is compared with another."""

    dtype: str
    device: str
    lm_eval: str
    batch: BatchForm


class PieceForm(Open):
    """A part of a training example."""

    text: str
    target: bool


class FieldForm(Open):
    """What became of a field of the rows."""

    field: str
    use: str
    rows: int


class SideForm(Open):
    """A side of the split of a data set."""

    conversations: NotRequired[int]
    truncated: NotRequired[int]


class DiversityForm(Open):
    """Distinct-n of some texts, by n."""

    distinct: dict[str, FiniteFloat]
    in_segments: dict[str, FiniteFloat]


class DataForm(Open):
    """`data/DATA.json`."""

    train: NotRequired[SideForm]
    diversity: NotRequired[dict[str, DiversityForm]]

    rows: NotRequired[Annotated[int, Field(gt=0)]]
    fields: NotRequired[list[FieldForm]]
    template_sha256: NotRequired[str]
    max_tokens: NotRequired[int]
    example: NotRequired[list[PieceForm]]


class NgramsForm(Open):
    """What the items of a task share in runs of n words."""

    hits: int
    share: FiniteFloat | None
    too_short: int
    covered: int


class OverlapForm(Open):
    """What a task shares with the training side, by n."""

    items: int
    ngrams: dict[str, NgramsForm]


class TrialForm(TypedDict):
    """A trial of a search."""

    learning_rate: FiniteFloat
    epochs: FiniteFloat | None
    steps: int | None
    loss: FiniteFloat | None
    chosen: bool
    error: str | None


class SearchForm(Open):
    """`searches/**/*.json`."""

    trials: list[TrialForm]


class JudgeForm(Open):
    """The judge as it was asked."""

    endpoint: str
    model: str
    temperature: Number | str
    repeats: int
    attempts: int


class JudgedForm(Open):
    """`judgements/**/results.json` and `pairs/**/results.json`."""

    judge: JudgeForm
    models: list[str]
    first: str | None
    last: str | None
    verdicts: int
    asked_again: int
    invalid: int
    refused: int
    questions: dict[str, str]


class CodeForm(Open):
    """How a program ended, in both taxonomies."""

    error: str
    paper_error: str


class WrittenForm(Open):
    """A line of `responses.jsonl`."""

    task: str
    item: str
    question: NotRequired[str]
    target: NotRequired[Any]
    response: NotRequired[str]
    finish: NotRequired[str | None]
    scores: NotRequired[dict[str, Number | bool]]
    probes: dict[str, FiniteFloat]
    code: NotRequired[CodeForm]
    draw: NotRequired[int]
