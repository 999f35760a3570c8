"""The contract of every kind of stage that measures an arm, as `kinds` has those of the others."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from layersig.recipe.schema import AnswerSettings, TaskSettings, TokenBudget
from layersig.stages.spec import ReadingSpec, StageSpec


class Evaluate(ReadingSpec):
    """Outcomes of a model, with `adapter` where there is one, on the held-out side of `data/NAME` and on tasks.

    With `objective`, the held-out sides are pairs, on which it measures margins; `untouched/NAME` has the
    log-probabilities under the untouched model, where it reads them.

    `task/N` is what `tasks.resolve_task` found for `tasks[N]`.

    Output: `items.jsonl` with every outcome; `responses.jsonl`, where a task lets the model write, with what it wrote
    and how that ended; `floors.jsonl`, where a task asks for it, with the outcomes without the items' own questions;
    `corpus.jsonl`, where a task has metrics that are no means of items, with their values on the items and on resamples
    of them; `memorisation.jsonl`, where the items are probed, with what `memorisation.probe` gives; `results.json`:
    `tasks` (by task: the value of every metric, `n`, shots and where they come from, split, digest of the prompts, the
    first `prompt` as the model reads it, which metrics are better when higher, what happened to prompts and answers
    (`incidents`), lm-eval's own figures, and weights and strata of a group), lm-eval's version, dtype, device kind and
    batch policy.
    """

    kind = "evaluate"
    version = 8
    body = "layersig.evaluating.stage:evaluate"
    reads = ("model",)
    may_read = ("adapter", "data/*", "untouched/*", "task/*")
    shared = "items"

    tasks: tuple[TaskSettings, ...]
    batch_tokens: TokenBudget
    allow_code_execution: bool = False
    chat_template: str = "auto"
    """How turns are shown and end."""
    same_items: tuple[tuple[str, str], ...] = ()
    """Pairs of tasks of which `limit` draws the same items."""
    memorisation: bool = False
    """Whether every item is probed."""
    objective: dict[str, Any] | None = None
    """Name and parameters of the objective that held-out pairs are measured by; None where the data are no pairs."""


class AskedQuestions(BaseModel):
    """A set of questions by name, and how many of them are asked; all when None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    limit: int | None


class Overlap(StageSpec):
    """Which items, questions and held-out conversations share words with the training side of `data`: `overlap.json`.

    `task/N` and `questions/N` are the data of `tasks[N]` and the file of `conversations[N]`; all turns of a question
    are one item. `model`, a folder with the tokenizer of the data, is read only where held-out conversations are
    compared too.

    `overlap.json` holds by task `items` and, in `ngrams` by words of one, `hits` (items that share an n-gram with a
    training conversation), `share` (of the items that have n words), `too_short` (the other items), `covered` (items of
    whose n-grams at least 70 % occur) and `ids` (of the first 20 hits). Held-out conversations, a task of their own,
    show near duplicates across the split.
    """

    kind = "overlap"
    version = 3
    body = "layersig.evaluating.overlap:overlap"
    reads = ("data",)
    may_read = ("model", "task/*", "questions/*")

    tasks: tuple[TaskSettings, ...]
    same_items: tuple[tuple[str, str], ...] = ()
    """As of `Evaluate`."""
    conversations: tuple[AskedQuestions, ...] = ()


class Answer(ReadingSpec):
    """The answers of a model, with `adapter` where there is one, to `questions/N`.

    Output: `answers.jsonl`, a question a line.
    """

    kind = "answer"
    version = 3
    body = "layersig.judging.answering:answer"
    reads = ("model",)
    may_read = ("adapter", "questions/*")

    conversations: tuple[AskedQuestions, ...]
    answers: AnswerSettings
    chat_template: str
    batch_tokens: TokenBudget


class Judging(StageSpec):
    """Questions to the judge; the parameters are those of `JudgeSettings`."""

    manner = frozenset({"key_env", "timeout", "concurrency"})

    endpoint: str
    model: str
    temperature: float | str
    max_tokens: int
    length_key: str
    repeats: int
    attempts: int
    key_env: str | None
    timeout: float
    concurrency: int


class Grade(Judging):
    """The judge's grade from 1 to 10 of every answer of an arm (`answers`).

    Output: `judgements.jsonl`; `items.jsonl`, an outcome a turn: the mean over the repeats that gave a rating. The
    turns of a question are one cluster. A turn without any rating has no outcome; its judgements say why.
    `results.json`: who judged (`judge`, as asked; `models` and the dates `first` and `last`, as the endpoint says),
    counts of verdicts and of how replies ended, and by set a digest of its questions.
    """

    kind = "grade"
    version = 2
    body = "layersig.judging.stages:grade"
    reads = ("answers",)


class Compare(Judging):
    """The judge's comparison, in both orders, of every answer in `answers` with that in `reference`.

    Output: `judgements.jsonl` and `results.json`, as `Grade` has them.
    """

    kind = "compare"
    version = 2
    body = "layersig.judging.stages:compare"
    reads = ("answers", "reference")
