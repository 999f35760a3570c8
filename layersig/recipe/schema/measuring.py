"""`[evaluate]`, `[judge]`, `[analyze]`: what arms are measured on, and how they are compared."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from layersig.recipe.schema.common import (
    ENDPOINT_PATTERN,
    VARIABLE_PATTERN,
    Fraction,
    Name,
    SourceSpec,
    Table,
    TokenBudget,
)

FileSpec = Annotated[str, StringConstraints(pattern=r"^file:.+\.(jsonl|parquet)$")]


def _in_full(table: type[Table], what: str) -> BeforeValidator:
    """Accept a string in place of a table whose other keys have their defaults."""

    def in_full(entry: Any) -> Any:
        if not isinstance(entry, str | dict | table):
            raise ValueError(f"must be {what}, or a table with `source`")
        return {"source": entry} if isinstance(entry, str) else entry

    return BeforeValidator(in_full, json_schema_input_type=str | table)


def _as_tuple(value: Any) -> Any:
    """Lists as tuples: pydantic's JSON rules no longer apply inside a table that a validator has built."""
    return tuple(value) if isinstance(value, list) else value


class TaskSettings(Table):
    """An entry of `evaluate.tasks`. A string is short for `{ source = "..." }`."""

    source: str
    """A task of lm-eval by name, `pypi:NAME` (embedded benchmark data), or `file:X.yaml` (your own lm-eval task)."""
    shots: int | None = Field(None, ge=0)
    """Number of few-shot examples; absent: that of the task (MMLU: 5). No example is the item being asked."""
    limit: int | None = Field(None, ge=1)
    """Number of items to evaluate: a seeded sample, the same in every arm and seed; absent: all."""
    data: FileSpec | dict[Name, FileSpec] | None = None
    """For a task given by name: read its rows from a local file, such as `file:gsm8k.jsonl`, with the fields that the
    task definition reads; or from a file per split, such as `{ train = "file:train.jsonl", test = "file:test.jsonl" }`
    for few-shot examples."""
    chat: bool = False
    """Ask in the user turn of the chat template, as instruction-tuned models were trained. Few-shot examples are turns
    of their own, as with lm-eval's `--apply_chat_template`; a prefix of the answer that the task gives opens the
    assistant turn."""
    floor: bool = False
    """Also measure the task's floor on the untouched model: every item is asked with the question of another item."""
    draws: int | None = Field(None, ge=1)
    """Number of answers to sample for every item of a generation task, each from a separate random stream; metrics are
    means over them. Cost grows with it. Absent: one answer by greedy decoding."""
    temperature: float | None = Field(None, gt=0)
    """Sampling temperature; required with `draws`."""
    top_p: Fraction = 1.0
    """Nucleus sampling: draw from the fewest tokens whose probabilities reach this sum."""
    pass_at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_tuple)] | None = None
    """Numbers k, at most `draws`, for which `METRIC@k` is reported: the probability that at least one of k draws is
    correct, estimated without bias from all draws (Chen et al. 2021). Absent: `draws`."""

    @property
    def counted(self) -> tuple[int, ...]:
        """Every k for which `METRIC@k` is reported; with 1 it is the metric itself."""
        wanted = (self.draws or 1,) if self.pass_at is None else self.pass_at
        return tuple(k for k in dict.fromkeys(wanted) if k > 1)


Task = Annotated[TaskSettings, _in_full(TaskSettings, "the name of a task")]


class ConversationSettings(Table):
    """An entry of `evaluate.conversations`. A string is short for `{ source = "..." }`."""

    source: SourceSpec
    """`pypi:mt-bench`, `hub:ID[@REVISION]`, or `file:X.jsonl` (rows of `question_id`, `category`, `turns`)."""
    name: Name | None = None
    """Name of the set in records and figures; absent: the last part of the source."""
    split: str = "train"
    """Split of a hub data set."""
    limit: int | None = Field(None, ge=1)
    """Number of questions to ask: a seeded sample, the same in every arm and seed; absent: all."""

    @property
    def label(self) -> str:
        """`name`, or its default."""
        last = self.source.partition(":")[2].partition("@")[0].rpartition("/")[2]
        return self.name or re.sub(r"\.(jsonl|json|parquet)$", "", last)


Conversations = Annotated[ConversationSettings, _in_full(ConversationSettings, "the source of a set of questions")]


class AnswerSettings(Table):
    """`[evaluate.answers]`: how arms answer the questions of `evaluate.conversations`."""

    max_new_tokens: int = Field(512, ge=1)
    """Maximum number of tokens of an answer; longer ones are truncated, and counted."""
    temperature: float = Field(0.0, ge=0)
    """Sampling temperature. 0: greedy decoding. Above 0: seeded sampling, one random stream per question and turn."""
    top_p: Fraction = 1.0
    """Nucleus sampling: draw from the fewest tokens whose probabilities reach this sum."""


class EvaluateSettings(Table):
    """`[evaluate]`: what every arm is measured on."""

    tasks: tuple[Task, ...] = ()
    """Benchmark tasks. A string is short for `{ source = "..." }`."""
    conversations: tuple[Conversations, ...] = ()
    """Sets of questions that every arm answers and the model of `[judge]` grades. A string is short for
    `{ source = "..." }`."""
    answers: AnswerSettings = AnswerSettings()
    """How arms answer them."""
    heldout: bool = True
    """Loss per target token on the held-out conversations of every data set of the recipe."""
    all_layers: bool = True
    """Evaluate `all-layers` too, which needs the complete reference training. With `false` the reference training ends
    at the last point that a scorer reads; arms are then compared with `analyze.baseline` (default `base`), and the
    share of the gain that they keep is unknown, and none is called equivalent to another."""
    memorisation: bool = False
    """Probe whether the untouched model has memorised the items of the tasks: min-k % probability of their text, and
    accuracy with reordered choices where the prompt shows them. Costs about two more evaluations of the untouched
    model."""
    allow_code_execution: bool = False
    """Allow tasks to run programs that the model wrote, confined by the kernel; otherwise such tasks are refused."""
    fallback: Literal["embedded"] | None = None
    """If the data of a task cannot be reached, use the embedded benchmark of that name; the report says so first."""
    batch_tokens: TokenBudget = "auto"
    """Padded tokens per forward pass, and where a task lets the model write, tokens of prompts and answers together.
    `auto`: on a GPU as many as fit into the memory that is free then, 8192 on a CPU."""


class JudgeSettings(Table):
    """`[judge]`: the model that grades the answers, behind any endpoint with OpenAI's chat completions API."""

    endpoint: Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)] | None = None
    """Base URL, such as `http://localhost:8000/v1`; `/chat/completions` is appended. Absent: conversations are left
    out, and the run and its report say how to have them graded."""
    model: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Id of the judge model, required with an endpoint. Pin a dated version if the endpoint has one. The id that the
    endpoint reports is recorded too."""
    key_env: Annotated[str, StringConstraints(pattern=VARIABLE_PATTERN)] | None = None
    """Name of the environment variable that holds the API key. The key is read when the judge is asked, and never
    written to disk."""
    repeats: int = Field(2, ge=1)
    """Number of times that every verdict is requested: two or more separate the judge's noise from that of training."""
    pairwise: bool = True
    """Also let the judge compare every arm with the baseline, each pair in both orders: two more verdicts for each."""
    temperature: Annotated[float, Field(ge=0)] | Literal["default"] = 0.0
    """Temperature of the judge. `"default"`: none is sent, for endpoints that refuse one."""
    max_tokens: int = Field(1024, ge=1)
    """Maximum number of tokens of a verdict, including its explanation and any reasoning of the judge. A truncated
    reply is not used."""
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of that limit in the API of the endpoint."""
    attempts: int = Field(3, ge=1)
    """Number of requests until a verdict can be parsed; after that it counts as invalid, and the report says how many
    do."""
    timeout: float = Field(120.0, gt=0)
    """Timeout of a request in seconds. Does not affect results."""
    concurrency: int = Field(4, ge=1, le=64)
    """Number of concurrent requests. Does not affect results."""


class LooksSettings(Table):
    """`analyze.looks`: a group-sequential design. A list is short for `{ seeds = [...] }`."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=2), BeforeValidator(_as_tuple)]
    """Numbers of seeds with which results are analysed, ascending: `[2, 5]` for a look with two seeds and the end with
    five. `seeds` of the recipe has one of these numbers of entries; later looks add seeds to those of earlier ones."""
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"
    """How `alpha` is spent as seeds are added (Lan and DeMets 1983): almost all of it at the end, or about as much at
    every look."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(before >= after for before, after in pairwise(self.seeds)):
            raise ValueError(f"looks are taken at growing numbers of seeds, got {list(self.seeds)}")
        return self


def _list_of_looks(entry: Any) -> Any:
    return {"seeds": entry} if isinstance(entry, list | tuple) else entry


Looks = Annotated[LooksSettings, BeforeValidator(_list_of_looks, json_schema_input_type=list[int] | LooksSettings)]


class AnalyzeSettings(Table):
    """`[analyze]`: how arms and rankings are compared."""

    baseline: Name = "all-layers"
    """The arm that the others are compared with. Default: `base` if every arm prunes and nothing is trained."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Significance level of tests; intervals cover 1 - alpha."""
    primary: tuple[Name, ...] | None = None
    """Arms whose comparison with the baseline is declared before anything is measured. Comparisons of other arms are
    exploratory. Absent: the first arm that reads a scorer."""
    contrasts: tuple[tuple[Name, Name], ...] = ()
    """Further declared comparisons as pairs `[arm, reference]`, such as `[["mine-30", "ila-30"]]`, of any two arms,
    including automatic controls. Arms of different scorers with the same policy and size are compared anyway; those
    comparisons are exploratory unless they are listed here."""
    outcome: str | Annotated[tuple[str, ...], Field(min_length=1)] = "heldout"
    """Outcome(s) of declared comparisons: `heldout`, or the name of a task or of a set of questions. All declared
    comparisons, on every outcome and data set, are corrected as one family. An outcome must be measured: without a
    held-out loss (`evaluate.heldout = false`), name a task or a set of questions."""
    margins: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Smallest difference that matters, by metric: `loss`, `acc`, `exact_match` (under every filter) or
    `"exact_match,strict-match"` (under that one). Shares of items are between 0 and 1: 0.02 is two points. Absent: 0.02
    nats per token for a loss, 0.01 for a share of items (both ours)."""
    gain_kept: Fraction | Literal["margin"] = 0.9
    """For `as good as all layers`, an arm must keep at least this share of the gain of all layers over the untouched
    model. `"margin"`: it must lose less than the margin of the metric, and all layers must gain twice that margin."""
    sharing_margin: float = Field(0.9, gt=0, le=1)
    """For `shares layers`, two data sets must reach this share of the agreement of two seeds of one data set."""
    sharing: tuple[Name, ...] = ()
    """Scorers whose tests of agreement are declared before anything is scored: whether the rankings of each share
    layers over the data sets, together and two by two, and those of several with each other; whether a milestone has
    the layers of the end of the training; whether scores of blocks correlate; and what agreement depends on. Tests of
    other scorers are exploratory. A scorer whose ranking is the same on every data set can be named only beside others,
    for the correlation of scores of blocks."""
    parts: Literal["fixed", "sampled"] = "fixed"
    """Whether the parts of a pooled task, such as the subjects of MMLU, are the only ones of interest, or a sample of
    more; in a sample, differences between parts count as error."""
    same_items: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks with the same items, asked as multiple choice and as generation, such as `["arithmetic_answer",
    "arithmetic_written"]`: `limit` draws the same ones for both, and their gap in retention separates the answer format
    from the items."""
    looks: Looks | None = None
    """Numbers of seeds at which results are analysed, such as `[2, 5]`, if seeds are to be added after a look: tests
    and intervals of differences between arms then allow for all looks. Absent: results are analysed once, and a report
    on more seeds says that there was a look."""
    resamples: int = Field(2000, ge=100)
    """Number of draws of surrogates, bootstraps and Monte Carlo tests."""
    controls: bool | Literal["all"] = True
    """Add controls to every primary arm that has none: a random selection with the same counts by module type
    (`NAME.random`), and, where the arm reads a scorer, a selection by module type and depth alone (`NAME.rule`). Costs
    two more trainings per arm, and almost nothing for a graft. `"all"`: to every arm whose scorer reads the model, too;
    comparisons with the controls of arms that are not primary are exploratory."""
    control_sets: int = Field(1, ge=1, le=1000)
    """Number of random sets that every arm with controls is ranked against (`NAME.random-2`, `NAME.random-3`, ...).
    They stay the same across seeds; `NAME.random`, the control of the paired comparison, is redrawn for every seed.
    From 19 sets on the rank is a test; fewer give a range. Each set costs a training run, but almost nothing for a
    graft. 1: `NAME.random` alone. More than 1 needs an arm that gets controls."""

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names in `outcome`."""
        return (self.outcome,) if isinstance(self.outcome, str) else self.outcome
