"""One task of lm-eval's library on made-up rows: what lm-eval's `hf` gives, and what is given here."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets
import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from layersig.errors import UserError
from layersig.evaluating import definitions, library
from layersig.evaluating.items import TaskScores, score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.rehearsal import rehearse
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.library.shapes import Fields, rows
from tests.tiny import tiny_model, tiny_tokenizer

os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")  # metrics from the hub are refused everywhere alike

COUNT = 6
NEW_TOKENS = 8
_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class Verdict:
    """What became of a task.

    Attributes:
        refused: The sentence that refuses it; None where both gave the same.
        kind: What sort of definition it is.
    """

    refused: str | None
    kind: str


def _shortened(requests: Sequence[Instance]) -> None:
    for request in requests:
        request.args[1]["max_gen_toks"] = NEW_TOKENS


class _Ours(SharedPrefixLM):
    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        _shortened(requests)
        return super().generate_until(requests, disable_tqdm)


class _Theirs(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        _shortened(requests)
        return list(super().generate_until(requests, disable_tqdm=True))


def compare(name: str, fields: Fields, folder: Path) -> Verdict:
    """Evaluate a task here and by lm-eval, on a tiny random model.

    Args:
        name: A task of lm-eval's library.
        fields: What its rows hold.
        folder: An empty folder.

    Returns:
        The verdict.

    Raises:
        AssertionError: The two differ in a prompt, in an item, or in a metric.
    """
    try:
        definitions.check(name, folder)
        [config] = definitions.named(name)
    except UserError as error:
        return Verdict(str(error), kind_of(name))
    splits = _written(config, fields, folder)
    try:
        task = load_task(TaskSettings(source=name), folder, Streams(0))
        rehearse(task.parts[0])
        ours = score_task(task, _Ours(tiny_model("llama"), tiny_tokenizer(), max_length=2048))
    except UserError as error:
        return Verdict(str(error), kind_of(name))
    _equal(name, ours, _lm_eval(name, splits))
    return Verdict(None, kind_of(name))


def kind_of(name: str) -> str:
    """The sort of a definition, in lm-eval's own terms."""
    try:
        [config] = definitions.named(name, functions=False)
    except (UserError, ValueError):
        entry = library.library()[name]
        assert entry.path is not None
        config = library.read(entry.path)
    if "class" in config:
        return "written in Python"
    fewshot = config.get("fewshot_config") or {}
    metrics = [
        ("function" if str(each["metric"]).startswith("/") else str(each["metric"]))
        + (" by function" if str(each.get("aggregation")).startswith("/") else "")
        for each in config.get("metric_list") or ()
    ]
    filters = [str(step["function"]) for each in config.get("filter_list") or () for step in each["filter"]]
    shown = [
        str(config.get("output_type", "generate_until")),
        f"text {_style(config.get('doc_to_text'))}",
        f"target {_style(config.get('doc_to_target'))}",
        *([f"choices {_style(config['doc_to_choice'])}"] if "doc_to_choice" in config else []),
        *(key for key in ("process_docs", "process_results", "gen_prefix", "description") if config.get(key)),
        *(["samples " + _style(fewshot["samples"])] if "samples" in fewshot else []),
        *([f"{config['num_fewshot']} shots"] if config.get("num_fewshot") else []),
        *(["filters " + "+".join("function" if each.startswith("/") else each for each in filters)] if filters else []),
        *([f"{config['repeats']} repeats"] if config.get("repeats", 1) > 1 else []),
        *([", ".join(dict.fromkeys(metrics))] if metrics else []),
    ]
    return "; ".join(shown)


def _style(value: object) -> str:
    if not isinstance(value, str):
        return type(value).__name__
    if value.startswith("/"):
        return "function"
    return "template" if "{{" in value or "{%" in value else "field" if value.strip() else "empty"


def _written(config: Mapping[str, Any], fields: Fields, folder: Path) -> dict[str, Path]:
    """Rows as parquet files by split, other rows in each, in the folder that `load_task` reads."""
    names = {config.get(key) for key in _SPLITS} | {(config.get("fewshot_config") or {}).get("split")}
    found = {}
    scored = config.get("test_split") or config.get("validation_split")
    (folder / config["task"]).mkdir(parents=True)
    for split in sorted(name for name in names if name):
        first = 0 if split == scored else 40
        made = rows(fields, COUNT if split == scored else 2 * COUNT, first)
        found[split] = folder / config["task"] / f"{split}.parquet"
        datasets.Dataset.from_list(made).to_parquet(found[split])
    return found


@contextmanager
def _offline(splits: Mapping[str, Path]) -> Iterator[None]:
    loaded = {name: datasets.Dataset.from_parquet(str(path)) for name, path in splits.items()}
    with patch.object(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(loaded)):
        yield


def _lm_eval(name: str, splits: Mapping[str, Path]) -> Mapping[str, Any]:
    path = library.library()[name].path
    assert path is not None
    top = library.root() / path.relative_to(library.root()).parts[0]
    manager = TaskManager(include_defaults=False, include_path=str(top))
    model = _Theirs(pretrained=tiny_model("llama"), tokenizer=tiny_tokenizer(), batch_size=4, max_length=2048)
    with _offline(splits):
        found = lm_eval.simple_evaluate(model, tasks=[name], task_manager=manager, bootstrap_iters=0)
    assert found is not None
    return dict(found)


def _equal(name: str, ours: TaskScores, theirs: Mapping[str, Any]) -> None:
    samples = {(each["doc_id"], each["filter"]): each for each in theirs["samples"][name]}
    own = {(each["doc_id"], each["filter"]): each for each in ours.samples[name]}
    assert own.keys() == samples.keys()
    for key, sample in samples.items():
        assert [list(each) for each in own[key]["arguments"]] == [list(each) for each in sample["arguments"]]
        assert own[key]["metrics"] == sample["metrics"]
        for metric in sample["metrics"]:
            _same(own[key][metric], sample[metric])
    told = {outcome.metric for outcome in ours.outcomes} | {value.metric for value in ours.corpus}
    for key, value in theirs["results"][name].items():
        metric, _, filter_name = key.partition(",")
        if not filter_name or metric.endswith("_stderr") or metric == "bypass":
            continue
        title = metric if filter_name == "none" else f"{metric},{filter_name}"
        assert title in told, f"{title} is not reported"
        said = ours.summary[name][title]
        assert (said is None) if math.isnan(value) else said == pytest.approx(value, rel=1e-4, abs=1e-6), title


def _same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list | tuple) and theirs and not isinstance(theirs[0], str):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            _same(one, other)
    elif isinstance(theirs, str | dict) or theirs is None:
        assert ours == theirs
    elif isinstance(theirs, list | tuple):
        assert list(ours) == list(theirs)
    else:
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4, nan_ok=True)
