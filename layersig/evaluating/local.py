"""lm-eval tasks whose rows are at hand and chosen. Importing this imports lm-eval and datasets: it takes seconds."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import datasets
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from layersig.errors import LayersigError, UserError
from layersig.evaluating import definitions, metrics
from layersig.evaluating.checks import check_answers, check_definition
from layersig.evaluating.definitions import Config
from layersig.evaluating.rows import Splits, declared_files, file_splits, prepared_splits
from layersig.evaluating.tasks import is_definition, task_name
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams

FEWSHOT_SEED = 1234
"""Seed of the few-shot examples of tasks that draw them; lm-eval's own default."""
OWN_SHOTS = {"mmlu": 5}
"""Few-shot examples where the benchmark's authors fixed a number that lm-eval's definition leaves open."""

_SPLIT_KEYS = ("training_split", "validation_split", "test_split", "fewshot_split")


class ItemText(NamedTuple):
    """What an item shows, for finding it in training data."""

    item: str
    text: str


class LocalTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """An lm-eval task whose rows are at hand, of which some may be chosen.

    Args:
        config: Its configuration, as lm-eval's YAML gives it.
        splits: Its rows.
        shots: Few-shot examples.

    Attributes:
        chosen: Indices of the rows to score, ascending, in the scored split after lm-eval's own processing.
        shuffled: Whether every chosen row is asked with the question of the next one, which measures what its answers
            alone are worth: the floor of a task of choices.
    """

    def __init__(self, config: Config, splits: Splits, shots: int | None) -> None:
        self._splits = splits
        self._processed: dict[str, Dataset] = {}
        self.chosen: list[int] | None = None
        self.shuffled = False
        self._chat_template: Callable[..., str] | None = None
        super().__init__(config=_fitting(config, splits, shots))
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
        # lm-eval processes a split anew each time it is asked for it.
        if split not in self._processed:
            process = self.config.process_docs
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

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **_: Any) -> None:
        """Build the requests of the chosen rows; few-shot examples are drawn anew from the same seed.

        Args:
            chat_template: Makes one text of messages; None for plain prompts.
        """
        self._chat_template = chat_template
        self.set_fewshot_seed(FEWSHOT_SEED)
        self._instances = []
        rows = list(self.eval_docs)
        for number, row in enumerate(rows):
            try:
                asked = self._requests(number, row)
                if self.shuffled:
                    self._exchange(asked, self._requests(number, rows[(number + 1) % len(rows)]))
                self._instances += asked
            except Exception as error:  # errors of every kind come from a definition that does not fit its rows
                index = (self.chosen or [])[number]
                raise UserError(
                    f"task {self.config.task}: row {index} cannot be shown with {self.config.num_fewshot} few-shot "
                    f"examples ({type(error).__name__}: {error})"
                ) from error

    def _requests(self, number: int, row: dict[str, Any]) -> list[Any]:
        chat = self._chat_template is not None
        context = self.fewshot_context(
            row,
            num_fewshot=self.config.num_fewshot,
            apply_chat_template=chat,
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
        """Put another row's question before the answers of a row; where answers are contexts, behind them."""
        for number, request in enumerate(own):
            other = others[number % len(others)]
            asked, answered = (request, other) if self.multiple_input else (other, request)
            request.arguments = (asked.args[0], answered.args[1])

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """The metrics of one row; `logprob`, of the right choice, where the definition's metadata ask for it."""
        try:
            found = dict(super().process_results(doc, results))
            if (self.config.metadata or {}).get("logprob"):
                found["logprob"] = results[self.doc_to_target(doc)][0]
            return found
        except Exception as error:  # as above
            kind = type(error).__name__
            raise UserError(f"task {self.config.task}: an answer cannot be scored ({kind}: {error})") from error

    def prompts(self) -> str:
        """Sha256 of everything that the chosen rows show the model, in order; requests must have been built."""
        shown = [(list(request.args), request.idx) for request in self._instances]
        return hashlib.sha256(json.dumps(shown, ensure_ascii=False).encode()).hexdigest()

    def item_ids(self) -> list[str]:
        """An identifier for each chosen row: its index and its own id, or else a hash of its content."""
        return [
            f"{index}:{row.get('id') or _content(row)}"
            for index, row in zip(self.chosen or (), self.eval_docs, strict=True)
        ]

    def texts(self) -> list[str]:
        """Question and right answer of each chosen row, without few-shot examples."""
        return [self._text(row) for row in self.eval_docs]

    def _text(self, row: dict[str, Any]) -> str:
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


@dataclass(frozen=True)
class ResolvedTask:
    """An entry of `evaluate.tasks`, ready to be scored.

    Attributes:
        name: What results call it; `asked>used` where embedded rows stand in for the hub's.
        parts: Its leaf tasks with rows to score, in lm-eval's order.
        pooled: Whether the parts are subjects of one benchmark: their items are one task then, with subjects as strata.
        rows: Rows in the scored splits, chosen or not.
        chat: Whether prompts are user turns of the model's chat template.
    """

    name: str
    parts: tuple[LocalTask, ...]
    pooled: bool
    rows: int
    chat: bool = False

    def label(self, part: LocalTask) -> str:
        """The name of a part's task in results."""
        return self.name if self.pooled or len(self.parts) == 1 else str(part.config.task)

    def items(self, part: LocalTask) -> list[str]:
        """Identifiers of a part's chosen rows, unique within the task."""
        return [f"{part.config.task}/{item}" if self.pooled else item for item in part.item_ids()]

    def texts(self) -> dict[str, list[ItemText]]:
        """What every chosen item shows, by the name of its task in results, to be sought in training data."""
        found: dict[str, list[ItemText]] = {}
        for part in self.parts:
            shown = zip(self.items(part), part.texts(), strict=True)
            found.setdefault(self.label(part), []).extend(ItemText(item, text) for item, text in shown)
        return found


def load_task(settings: TaskSettings, path: Path, streams: Streams) -> ResolvedTask:
    """The lm-eval tasks of an entry of `evaluate.tasks`.

    Args:
        settings: The entry.
        path: What `resolve_task` found for it: a user's YAML file, or a folder of rows.
        streams: The recipe's root streams, without a seed: the choice of items is the same everywhere.

    Raises:
        UserError: No such task, a broken definition, or missing data files.
        MachineError: A user's task reads a data set of the hub, which cannot be reached.
    """
    if is_definition(path):
        return _load(settings, path, streams)
    # Folders of rows bear their content in their name, and every arm asks for the same tasks.
    return _load_once(settings, path, streams)


def load_selection_task(
    settings: TaskSettings, path: Path, streams: Streams, shown: Collection[str], *, leak: bool = False
) -> ResolvedTask:
    """As `load_task`, with a seeded sample of the items that evaluation does not show: those to choose layers on.

    Args:
        settings: An entry like those of `evaluate.tasks`.
        path: As of `load_task`.
        streams: As of `load_task`.
        shown: The texts of all items that are evaluated; items are told apart by what they show.
        leak: Take items that are evaluated instead, or any where none is.

    Raises:
        UserError: As `load_task`, or every item is evaluated.
    """
    task = _load(settings.model_copy(update={"limit": None}), path, streams)
    every = [(part, row, text) for part in task.parts for row, text in enumerate(part.texts())]
    pool = [(part, row) for part, row, text in every if (text in shown) is leak]
    if leak and not pool:
        pool = [(part, row) for part, row, _ in every]
    if not pool:
        raise UserError(
            f"task {task.name}: every item is evaluated, so none is left to choose layers on; set a `limit` on it in "
            "evaluate.tasks, or choose on another task"
        )
    size = min(settings.limit or len(pool), len(pool))
    drawn = streams.generator("selection-items", task.name).choice(len(pool), size=size, replace=False)
    chosen = [pool[place] for place in sorted(drawn.tolist())]
    for part in task.parts:
        part.chosen = [row for owner, row in chosen if owner is part]
    return replace(task, parts=tuple(part for part in task.parts if part.chosen))


def _load(settings: TaskSettings, path: Path, streams: Streams) -> ResolvedTask:
    _hush()
    name = task_name(settings.source)
    configs = definitions.user(path) if is_definition(path) else definitions.named(name)
    shots = OWN_SHOTS.get(name) if settings.shots is None else settings.shots
    parts = []
    for config in configs:
        splits = file_splits(config, path.parent) if is_definition(path) else prepared_splits(path, config)
        parts.append(_task(config, splits, shots, path))
    # Subjects of one benchmark read one data set; a mixture of benchmarks reads several.
    pooled = len(parts) > 1 and len({config.get("dataset_path") for config in configs}) == 1
    if is_definition(path):
        name = configs[0]["task"] if len(configs) == 1 else path.stem
    chosen = _choose(parts, settings.limit, streams, name)
    for part in chosen:
        check_answers(part, path)
    stands_in = settings.source == name and (path / "README.md").is_file()  # only embedded benchmarks have one
    rows = sum(len(part.scored_rows) for part in parts)
    return ResolvedTask(f"{name}>pypi:{name}" if stands_in else name, chosen, pooled, rows, settings.chat)


_load_once = lru_cache(maxsize=16)(_load)


def check_user_task(path: Path) -> None:
    """Build the tasks of a user's YAML whose rows lie in files, so that mistakes show before anything is trained.

    Raises:
        UserError: As `load_task`.
    """
    _hush()
    for config in definitions.user(path):
        if declared_files(config, path.parent):
            check_answers(_task(config, file_splits(config, path.parent), None, path), path)


def _hush() -> None:
    """What lm-eval and datasets tell is told by layersig in its own words, or is of no use to the user."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()


def _task(config: Config, splits: Splits, shots: int | None, path: Path) -> LocalTask:
    if is_definition(path):
        check_definition(config, next(iter(splits.values())).column_names, path)
    try:
        return LocalTask(config, splits, shots)
    except LayersigError:
        raise
    except Exception as error:  # lm-eval reports mistakes in a task's definition with errors of every kind
        raise UserError(
            f"{path}: task {config['task']} cannot be built from its data ({type(error).__name__}: {error})"
        ) from error


def _choose(parts: Sequence[LocalTask], limit: int | None, streams: Streams, name: str) -> tuple[LocalTask, ...]:
    rows = sum(len(part.scored_rows) for part in parts)
    if limit is None or limit >= rows:
        return tuple(parts)
    chosen = sorted(streams.generator("items", name).choice(rows, size=limit, replace=False).tolist())
    first = 0
    for part in parts:
        part.chosen = [index - first for index in chosen if first <= index < first + len(part.scored_rows)]
        first += len(part.scored_rows)
    return tuple(part for part in parts if part.chosen)


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
