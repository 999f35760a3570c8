"""An lm-eval task whose rows are at hand and chosen. Importing this imports lm-eval and datasets: it takes seconds."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset
from lm_eval.api.metrics import mean

from layersig.errors import UserError
from layersig.evaluating import metrics
from layersig.evaluating.blanks import BlankAwareTask
from layersig.evaluating.corpus import Aggregation, guarded
from layersig.evaluating.definitions import Config
from layersig.evaluating.rows import Splits
from layersig.evaluating.shots import ApartSampler

FEWSHOT_SEED = 1234
"""Seed of the few-shot examples of tasks that draw them; lm-eval's own default."""

LONGEST_EXAMPLE = 20_000
"""Characters of a prompt that is kept as an example: enough for 25 long few-shot examples, not for a book."""

_SPLIT_KEYS = ("training_split", "validation_split", "test_split", "fewshot_split")


class LocalTask(BlankAwareTask):
    """An lm-eval task whose rows are at hand, of which some may be chosen.

    Args:
        config: Its configuration, as lm-eval's YAML gives it.
        splits: Its rows.
        shots: Few-shot examples.

    Attributes:
        chosen: Indices of the rows to score, ascending, in the scored split after lm-eval's own processing.
        exchange: For every chosen row, the place among them of the row whose question it is asked with, which measures
            what its answers alone are worth: the floor. None to ask each with its own.
    """

    sampler: ApartSampler

    def __init__(self, config: Config, splits: Splits, shots: int | None) -> None:
        self._splits = splits
        self._processed: dict[str, Dataset] = {}
        self.chosen: list[int] | None = None
        self.exchange: Sequence[int] | None = None
        self._chat_template: Callable[..., str] | None = None
        with _seeded():
            super().__init__(config=_fitting(config, splits, shots))
        self.sampler = ApartSampler(self.sampler, self._shown)
        self.chosen = list(range(len(self.scored_rows)))

    def download(self, *_: Any, **__: Any) -> None:
        """Take the rows that are at hand."""
        self.dataset = self._splits

    def training_docs(self) -> Dataset:
        """Rows of the training split."""
        return self._docs(self.config.training_split)

    def validation_docs(self) -> Dataset:
        """Rows of the validation split."""
        return self._docs(self.config.validation_split)

    def test_docs(self) -> Dataset:
        """Rows of the test split."""
        return self._docs(self.config.test_split)

    def _docs(self, split: str) -> Dataset:
        # lm-eval processes a split again on every access.
        if split not in self._processed:
            process = self.config.process_docs
            with _seeded():
                self._processed[split] = process(self.dataset[split]) if process else self.dataset[split]
        return self._processed[split]

    @cached_property
    def scored_rows(self) -> Dataset:
        """Rows of the scored split, chosen or not."""
        return self.test_docs() if self.has_test_docs() else self.validation_docs()

    @property
    def eval_docs(self) -> Dataset:
        """The chosen rows; all of them until rows are chosen."""
        return self.scored_rows if self.chosen is None else self.scored_rows.select(self.chosen)

    @property
    def runs_code(self) -> bool:
        """Whether scoring it runs what the model wrote."""
        return any(entry["metric"] == metrics.PASSES for entry in self.config.metric_list or ())

    @property
    def scored_split(self) -> str:
        """Name of the split that is scored."""
        return str(self.config.test_split or self.config.validation_split)

    @property
    def shots_from(self) -> str:
        """Where few-shot examples come from: a split, or the definition itself."""
        fewshot = self.fewshot_cfg
        if fewshot.split is None and fewshot.samples is not None:
            return "the definition"
        return str(fewshot.split or self.config.training_split or self.config.validation_split or self.scored_split)

    @property
    def replaced(self) -> Mapping[int, int]:
        """Few-shot examples that showed the asked item and were replaced, by index of the row."""
        return dict(self.sampler.replaced)

    def aggregation_of(self, metric: str) -> Aggregation:
        """What makes one number of a metric's items; the mean where the definition says nothing, as in lm-eval."""
        found: Aggregation = super().aggregation().get(metric, mean)
        return found

    def aggregation(self) -> dict[str, Aggregation]:
        """As lm-eval's, but failures name the task and the metric."""
        name = str(self.config.task)
        return {metric: guarded(name, metric, function) for metric, function in super().aggregation().items()}

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **_: Any) -> None:
        """Build the requests of the chosen rows; few-shot examples are drawn again from the same seed.

        Args:
            chat_template: Makes one text of messages, of which few-shot examples are some; None for plain prompts.
        """
        self._chat_template = chat_template
        self._instances = [request for asked in self.requests_of(list(self.eval_docs)) for request in asked]

    def requests_of(self, rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
        """The requests of the chosen rows, or of changed ones in their places, behind the same few-shot examples.

        Args:
            rows: As many as rows are chosen.

        Raises:
            UserError: A row cannot be shown.
        """
        self.set_fewshot_seed(FEWSHOT_SEED)
        found = []
        with _seeded():
            for number, (row, own) in enumerate(zip(rows, self.eval_docs, strict=True)):
                try:
                    asked = self._requests(number, row, own)
                    if self.exchange is not None:
                        self._exchange(asked, self._requests(number, rows[self.exchange[number]], row))
                    found.append(asked)
                except Exception as error:  # errors of every kind come from a definition that does not fit its rows
                    index = (self.chosen or [])[number]
                    raise UserError(
                        f"task {self.config.task}: row {index} cannot be shown with {self.config.num_fewshot} few-shot "
                        f"examples ({type(error).__name__}: {error})"
                    ) from error
        return found

    def _requests(self, number: int, row: dict[str, Any], *apart: dict[str, Any]) -> list[Any]:
        """The requests of a row, with examples that show neither it nor the rows `apart`."""
        self.sampler.ask((self.chosen or [])[number], row, *apart)
        chat = self._chat_template is not None
        context = self.fewshot_context(
            row,
            num_fewshot=self.config.num_fewshot,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,  # as lm-eval does unless told otherwise
            chat_template=self._chat_template,
            gen_prefix=self.doc_to_prefix(row),
        )
        built = self.construct_requests(
            doc=row,
            ctx=context,
            metadata=(self.config.task, number, self.config.repeats),
            apply_chat_template=chat,
        )
        return built if isinstance(built, list) else [built]

    def _exchange(self, own: list[Any], others: list[Any]) -> None:
        """Put another row's question before the answers of a row; where answers are contexts, behind them.

        Answers that are asked without a question too, as `acc_mutual_info` wants, stay without one.
        """
        for number, request in enumerate(own):
            alike = [each for each in others if bool(each.args[0]) == bool(request.args[0])] or others
            other = alike[number % len(alike)]
            asked, answered = (request, other) if self.multiple_input else (other, request)
            request.arguments = (asked.args[0], answered.args[1])

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """The metrics of one row; `logprob`, of the right answer, where the definition's metadata ask for it."""
        try:
            found = dict(super().process_results(doc, results))
            if (self.config.metadata or {}).get("logprob"):
                right = 0 if self.OUTPUT_TYPE == "loglikelihood" else self.doc_to_target(doc)
                found["logprob"] = results[right][0]
            return found
        except Exception as error:  # as above
            kind = type(error).__name__
            raise UserError(f"task {self.config.task}: an answer cannot be scored ({kind}: {error})") from error

    def prompts(self) -> str:
        """Sha256 of everything that the chosen rows show the model, in order; requests must have been built."""
        shown = [(list(request.args), request.idx) for request in self._instances]
        return hashlib.sha256(json.dumps(shown, ensure_ascii=False).encode()).hexdigest()

    def example(self) -> dict[str, Any]:
        """What the first chosen row shows the model, few-shot examples and chat template included.

        Requests must have been built.

        Returns:
            `item`; `texts`, what the model reads: one, or one a choice where the choices are what it reads; `answers`,
            the continuations that are scored, none where the model writes; `cut`, where a text is longer than
            `LONGEST_EXAMPLE` characters and lost the rest.
        """
        first = [request.args for request in self._instances if request.doc_id == self._instances[0].doc_id]
        texts = dict.fromkeys(str(args[0]) for args in first)
        answers = dict.fromkeys(str(args[1]) for args in first if len(args) > 1 and isinstance(args[1], str))
        return {
            "item": self.item_ids()[0],
            "texts": [text[:LONGEST_EXAMPLE] for text in texts],
            "answers": list(answers),
            **({"cut": True} if any(len(text) > LONGEST_EXAMPLE for text in texts) else {}),
        }

    def item_ids(self) -> list[str]:
        """An identifier for each chosen row: its index and its own id, or else a hash of its content."""
        return [
            f"{index}:{row.get('id') or _content(row)}"
            for index, row in zip(self.chosen or (), self.eval_docs, strict=True)
        ]

    def _shown(self, row: Mapping[str, Any]) -> Hashable | None:
        """What a row asks: question and choices, in any case and any order; the target where it asks nothing."""
        try:
            choices = self.doc_to_choice(row) if self.config.doc_to_choice is not None else []
            question = "" if self.multiple_input else str(self.doc_to_text(row))
            plain = [" ".join(text.split()).casefold() for text in (question, *sorted(map(str, choices)))]
            return tuple(plain) if any(plain) else (str(self.doc_to_target(row)),)
        except Exception:  # examples of the definition's own may lack fields that items have
            return None

    def texts(self) -> list[str]:
        """Question and right answer of each chosen row, without few-shot examples."""
        return [self.text_of(row) for row in self.eval_docs]

    def text_of(self, row: dict[str, Any]) -> str:
        """Question and right answer of a row, without few-shot examples."""
        question, answer = self.doc_to_text(row), self.doc_to_target(row)
        if self.config.doc_to_choice is not None:
            choices = self.doc_to_choice(row)
            if self.multiple_input:
                question = choices[question]
            answer = answer[0] if isinstance(answer, list) else answer
            answer = choices[answer] if isinstance(answer, int) and not self.multiple_input else answer
        elif isinstance(answer, list):
            answer = answer[0]
        return f"{question}{self.config.target_delimiter}{answer}"


@contextmanager
def _seeded() -> Iterator[None]:
    """Global generators from lm-eval's own seeds, and as they were afterwards.

    Definitions shuffle choices with them (GPQA), which is to come out the same for every model.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # what definitions use
    random.seed(0)
    np.random.seed(FEWSHOT_SEED)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _fitting(config: Config, splits: Splits, shots: int | None) -> Config:
    """The configuration with the splits that there are, and the number of few-shot examples."""
    fitted = {**config, "num_fewshot": config.get("num_fewshot") or 0 if shots is None else shots}
    for key in _SPLIT_KEYS:
        if fitted.get(key) not in splits:
            fitted[key] = None
    if isinstance(fewshot := fitted.get("fewshot_config"), dict) and fewshot.get("split") not in splits:
        fitted["fewshot_config"] = {key: value for key, value in fewshot.items() if key != "split"}
    if not (fitted["test_split"] or fitted["validation_split"]):
        asked = config.get("test_split") or config.get("validation_split")
        lacks = f"its data have no split `{asked}`" if asked else "it names no `test_split` or `validation_split`"
        raise UserError(f"task {config['task']}: {lacks} to score; its data have {', '.join(splits)}")
    return fitted


def _content(row: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str, ensure_ascii=False).encode()).hexdigest()[:12]
