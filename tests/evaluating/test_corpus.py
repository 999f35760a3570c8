"""Metrics over all items at once: lm-eval's values, replicates by the same function, and failures by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
from lm_eval.api import metrics as theirs
from lm_eval.tasks import TaskManager

from layersig.errors import UserError
from layersig.evaluating.corpus import RESAMPLES, replicates, resamples
from layersig.evaluating.items import TaskScores, score_task
from layersig.evaluating.loading import check_user_task, load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.records import CorpusValue
from layersig.streams import Streams
from tests.evaluating.peers import lm_eval_hf
from tests.tiny import tiny_model, tiny_tokenizer

HEAD = """
task: claims
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
doc_to_text: "{{claim}}:"
"""
CHOICE = HEAD + 'output_type: multiple_choice\ndoc_to_target: answer\ndoc_to_choice: [" no", " yes"]\n'
WRITTEN = HEAD + (
    "output_type: generate_until\ndoc_to_target: text\ngeneration_kwargs: {until: ['\\n'], max_gen_toks: 6}\n"
)
TEXTS = HEAD.replace('doc_to_text: "{{claim}}:"', 'doc_to_text: ""') + (
    "output_type: loglikelihood_rolling\ndoc_to_target: text\n"
)
LAST = HEAD + "output_type: loglikelihood\ndoc_to_target: text\n"
OWN = """
def answers(row, results):
    best = max(range(len(results)), key=lambda at: results[at][0])
    return {"worst": float(best == row["answer"]), "acc": float(best == row["answer"])}

def worst(values):
    return min(values) - 0.25

def spread(values):
    return 1 / (len(set(values)) - 1)

def fails(values):
    raise ValueError("no, not this")

def pair(row, results):
    return {"odd": ("a", "b")}
"""


def write(folder: Path, text: str, count: int = 11) -> Path:
    rows = [
        {"claim": f"Stone {n} floats", "answer": int(n % 3 > 0), "text": f"stone {n} is {'no' if n % 3 else 'a'} ship"}
        for n in range(count)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "own.py").write_text(OWN)
    (folder / "claims.yaml").write_text(text.replace("FOLDER", str(folder)))
    return folder / "claims.yaml"


def scored(path: Path, seed: int = 0) -> TaskScores:
    task = load_task(TaskSettings(source=f"file:{path}"), path, Streams(seed))
    return score_task(task, SharedPrefixLM(tiny_model("llama", seed=seed), tiny_tokenizer()))


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        (CHOICE, ["f1"]),
        (CHOICE, ["mcc", "acc"]),
        (CHOICE, ["brier_score"]),
        (WRITTEN, ["bleu", "chrf", "ter"]),
        (WRITTEN, ["chrf++", "exact_match"]),
        (TEXTS, ["word_perplexity", "byte_perplexity", "bits_per_byte"]),
        (LAST, ["perplexity", "acc"]),
    ],
    ids=lambda each: "+".join(each) if isinstance(each, list) else "",
)
def test_every_metric_has_the_value_of_lm_eval(tmp_path: Path, text: str, metrics: list[str]) -> None:
    path = write(tmp_path, text + f"metric_list: [{', '.join(f'{{metric: {name}}}' for name in metrics)}]\n")
    found = scored(path)
    manager = TaskManager(include_defaults=False, include_path=str(tmp_path))
    model = lm_eval_hf(tiny_model("llama"), tiny_tokenizer())
    results = lm_eval.simple_evaluate(model, tasks=["claims"], task_manager=manager, bootstrap_iters=0)
    assert results is not None
    of_items = {"acc", "exact_match"}
    assert {value.metric for value in found.corpus} == set(metrics) - of_items
    for name in metrics:
        assert found.summary["claims"][name] == pytest.approx(results["results"]["claims"][f"{name},none"], rel=1e-4)
    for value in found.corpus:
        assert (value.task, value.n, value.units, len(value.replicates)) == ("claims", 11, 11, RESAMPLES)
        assert CorpusValue.from_json(json.loads(json.dumps(value.to_json()))) == value


def test_an_empty_text_has_no_loss(tmp_path: Path) -> None:
    path = write(tmp_path, TEXTS + "metric_list: [{metric: byte_perplexity}]\n", count=5)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    rows[2]["text"] = ""
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = scored(path)
    assert [outcome.item.partition(":")[0] for outcome in found.outcomes] == ["0", "1", "3", "4"]
    [value] = found.corpus
    assert value.value == pytest.approx(math.exp(found.summary["claims"]["loss"]))


def test_functions_of_the_definition(tmp_path: Path) -> None:
    text = CHOICE + "process_results: !function own.answers\nmetric_list: [{metric: acc, aggregation: mean, "
    text += "higher_is_better: true}, {metric: worst, aggregation: !function own.worst, higher_is_better: true}]\n"
    found = scored(write(tmp_path, text))
    assert {outcome.metric for outcome in found.outcomes} == {
        "acc"
    }  # each item's `worst` is a number, but no mean of it
    [value] = found.corpus
    assert (value.metric, value.value) == ("worst", found.summary["claims"]["worst"])
    assert value.value == found.summary["claims"]["lm_eval"]["worst,none"] == -0.25
    assert found.summary["claims"]["higher_is_better"]["worst"] is True


def test_models_share_their_resamples(tmp_path: Path) -> None:
    path = write(tmp_path, CHOICE + "metric_list: [{metric: acc, aggregation: median}]\n")
    drawn = resamples("claims", [str(row) for row in range(11)])
    for seed in (0, 1):
        [value] = scored(path, seed).corpus
        samples = score_task(
            load_task(TaskSettings(source=f"file:{path}"), path, Streams(5)),
            SharedPrefixLM(tiny_model("llama", seed=seed), tiny_tokenizer()),
        ).samples["claims"]
        own = [sample["acc"] for sample in samples]
        assert list(value.replicates) == [theirs.median([own[row] for row in rows]) for rows in drawn]


def test_clusters_are_drawn_as_they_are() -> None:
    for rows in resamples("claims", ["a", "b", "a", "c"]):
        counts = np.bincount(rows, minlength=4)
        assert counts[0] == counts[2]
        assert counts[0] + counts[1] + counts[3] == 3


def test_a_resample_without_a_value_is_no_number() -> None:
    drawn = resamples("claims", list("abc"))
    found = replicates(lambda values: 1 / sum(values), [0.0, 0.0, 1.0], range(3), drawn)
    assert [value is None for value in found] == [2 not in rows for rows in drawn]


PAIRS = [(1, 0), (0, 0), (1, 1), (0, 1), (1, 1), (0, 0), (1, 1), (0, 0), (1, 0)]
WORDS = [("a red ship", "a ship"), ("no", "no ship"), ("the sea is red", "the red sea"), ("a b", "a b"), ("x", "y z")]


@pytest.mark.parametrize(
    ("aggregation", "values"),
    [
        (theirs.f1_score, PAIRS),
        (theirs.matthews_corrcoef, PAIRS),
        (
            theirs.matthews_corrcoef,
            [(n % 3, m % 3) for n, m in zip(range(9), (0, 1, 2, 1, 1, 0, 2, 2, 2), strict=True)],
        ),
        (theirs.f1_score, [(0, 0), (0, 1), (0, 0)]),
        (theirs.bleu, WORDS),
        (theirs.chrf, WORDS),
        (theirs.chrfpp, WORDS),
        (theirs.ter, WORDS),
        (theirs.chrf, [(["a", "b c"], "b"), (["the sea", "sea"], "a sea")]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_fast_replicates_are_those_of_lm_evals_function(
    aggregation: Callable[[Sequence[Any]], float], values: Sequence[Any]
) -> None:
    drawn = resamples("claims", [str(row) for row in range(len(values))])
    fast = replicates(aggregation, values, range(len(values)), drawn)
    plain = [float(aggregation([values[row] for row in rows])) for rows in drawn[:60]]
    assert fast[:60] == pytest.approx(plain, abs=1e-9)
    assert all(value is not None and math.isfinite(value) for value in fast)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            "[{metric: acc, aggregation: !function own.fails, higher_is_better: true}]",
            "acc cannot be computed over .*no, not",
        ),
        ("[{metric: bypass, aggregation: bypass, higher_is_better: true}]", "no metric but `bypass`"),
        (
            "[{metric: odd, aggregation: mean, higher_is_better: true}]\nprocess_results: !function own.pair",
            r"odd gives \('a', 'b'\) for an item, and its aggregation is a mean",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_before_anything_is_run(tmp_path: Path, metrics: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_user_task(write(tmp_path, CHOICE + f"metric_list: {metrics}\n"))


def test_classes_that_f1_does_not_have_are_refused(tmp_path: Path) -> None:
    text = CHOICE.replace('[" no", " yes"]', '[" no", " yes", " both"]') + "metric_list: [{metric: f1}]\n"
    with pytest.raises(UserError, match=r"task claims: f1 cannot be computed over its items .*multiclass"):
        check_user_task(write(tmp_path, text))


def test_an_aggregation_that_few_rows_may_fail_is_not_refused(tmp_path: Path) -> None:
    text = CHOICE.replace("doc_to_target: answer", "doc_to_target: 0")
    text += "metric_list: [{metric: acc, aggregation: !function own.spread, higher_is_better: true}]\n"
    check_user_task(write(tmp_path, text))
