"""What scores do not show is counted: prompts and answers cut, answers empty, choices that tie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layersig.evaluating.items import TaskScores, score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.stage import evaluate
from layersig.evaluating.tasks import resolve_task
from layersig.incidents import Incidents
from layersig.jsonform import read_jsonl
from layersig.recipe.schema import TaskSettings
from layersig.records import Cell
from layersig.sources.source import Request
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.chatty import ANSWERS, FAMILIES, chat_model, chat_tokenizer, question, save_chat_model
from tests.evaluating.peers import lm_eval_hf
from tests.judging.world import Told
from tests.tiny import tiny_model, tiny_tokenizer

WRITTEN = """
task: animals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{ask}}"
doc_to_target: "{{says}}"
generation_kwargs: {until: ["m"], max_gen_toks: MOST}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOSEN = """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{ask}}"
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""


def task_of(folder: Path, yaml: str, rows: list[dict[str, Any]]) -> tuple[ResolvedTask, Path]:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "task.yaml").write_text(yaml)
    source = resolve_task("file:task.yaml", None, Request(base_dir=folder, cache=folder / "cache", offline=True))
    return load_task(TaskSettings(source="file:task.yaml"), source.path, Streams(0)), source.path


def written(folder: Path, most: int, before: str = "") -> tuple[ResolvedTask, Path]:
    rows = [{"ask": before + question(animal), "says": says} for animal, says in ANSWERS.items()]
    return task_of(folder, WRITTEN.replace("MOST", str(most)), rows)


def scored(task: ResolvedTask, **options: Any) -> TaskScores:
    return score_task(task, SharedPrefixLM(chat_model("gemma"), chat_tokenizer(FAMILIES["gemma"]), **options))


@pytest.mark.parametrize(("most", "cut"), [(24, 0), (5, 0), (4, 3), (3, 3), (2, 4), (1, 4)])
def test_answers_cut_and_empty_are_counted(tmp_path: Path, most: int, cut: int) -> None:
    found = scored(written(tmp_path, most)[0])
    # bark, hoot and oink take five tokens with their end, mew, moo and hum ("hu") stop at "m".
    assert found.incidents["animals"] == Incidents(0, answers_cut=cut, answers_empty=2)
    assert [each["finish"] for each in found.endings].count("length") == cut
    assert [line["response"] for line in found.responses].count("") == 2


def test_prompts_cut_are_counted_where_models_write(tmp_path: Path) -> None:
    task, _ = written(tmp_path, 24, before="x" * 40)
    assert scored(task).incidents["animals"].prompts_cut == 0
    # Room for 45 tokens: "<bos>", 40 letters, three of the animal and the colon.
    assert scored(task, max_length=69).incidents["animals"].prompts_cut == 0
    found = scored(task, max_length=68)
    assert found.incidents["animals"].prompts_cut == len(ANSWERS)
    theirs = lm_eval_hf(chat_model("gemma"), chat_tokenizer(FAMILIES["gemma"]), max_length=68)
    assert found == score_task(task, theirs)


def test_ties_and_cut_prompts_are_counted_where_choices_are_scored(tmp_path: Path) -> None:
    rows = [
        {"ask": "a" * 30, "choices": [" same", " same"], "right": 1},
        {"ask": "b", "choices": [" one", " other", " one"], "right": 0},
        {"ask": "c", "choices": [" one", " two"], "right": 0},
        {"ask": "d" * 20, "choices": [" x", " x"], "right": 0},
    ]
    task, _ = task_of(tmp_path, CHOSEN, rows)
    lm = SharedPrefixLM(tiny_model("llama"), tiny_tokenizer(), max_length=30)
    found = score_task(task, lm)
    values = [outcome.value for outcome in found.outcomes]
    samples = sorted(found.samples["choices"], key=lambda sample: int(sample["doc_id"]))
    second = [response[0][0] for response in samples[1]["resps"]]
    assert found.incidents["choices"] == Incidents(1, ties=2 + (second[0] > second[1]))
    assert (values[0], values[3]) == (0.0, 1.0), "the first of equals is taken"
    assert found == score_task(task, lm_eval_hf(tiny_model("llama"), tiny_tokenizer(), max_length=30))
    # Another task, asked of the same model, starts from nothing.
    assert score_task(task_of(tmp_path, CHOSEN, rows[2:3])[0], lm).incidents["choices"] == Incidents(0, ties=0)


def test_the_stage_records_them_and_warns(tmp_path: Path) -> None:
    _, path = written(tmp_path, 4)
    (tmp_path / "out").mkdir()
    settings = {
        "tasks": [{"source": "file:task.yaml"}],
        "batch_tokens": 4096,
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
    }
    roles = {"model": save_chat_model(tmp_path / "model", "gemma"), "task/0": path}
    told = Told()
    evaluate(
        Job(Cell(arm="base"), Evaluate.of(**settings), roles, tmp_path / "out", tmp_path, Streams(0), reporter=told)
    )
    record = json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]["animals"]
    assert record["incidents"] == {"prompts_cut": 0, "answers_cut": 3, "answers_empty": 2}
    lines = list(read_jsonl(tmp_path / "out" / "responses.jsonl"))
    assert [(line["finish"], line["tokens"]) for line in lines[:2]] == [("length", 4), ("stop", 1)]
    assert told.warnings == ["animals: 3 of 6 answers were cut before they ended", "animals: 2 of 6 answers are empty"]


def test_few_of_many_are_no_warning() -> None:
    met = Incidents(1, answers_cut=2) + Incidents(4, answers_empty=9)
    assert met == Incidents(5, answers_cut=2, answers_empty=9)
    assert list(met.many(100)) == ["9 of 100 answers are empty"]
    assert Incidents.from_json(met.to_json()) == met
