"""Rows of tasks: every field counts, and one that is missing is never printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from layersig.errors import UserError
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.tasks import resolve_task
from layersig.recipe.schema import TaskSettings
from layersig.sources.source import Request
from layersig.streams import Streams

YAML = """
task: doors
dataset_path: json
dataset_kwargs: {{data_files: {{test: {files}}}}}
test_split: test
output_type: {output_type}
doc_to_text: {text}
doc_to_target: {target}
{more}
metric_list: [{{metric: {metric}, higher_is_better: true}}]
"""
ROW = {"question": "The door opens to the", "choices": [" left", " right"], "answer": 0}


def door(number: int, **more: Any) -> dict[str, Any]:
    return {**ROW, "question": f"Door {number} opens to the", **more}


def load(folder: Path, rows: list[Any], *, files: str = "rows.jsonl", **keys: str) -> ResolvedTask:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    defaults = {"output_type": "multiple_choice", "text": "question", "target": "answer", "metric": "acc"}
    defaults["more"] = "doc_to_choice: choices" if "output_type" not in keys else ""
    (folder / "doors.yaml").write_text(YAML.format(files=files, **{**defaults, **keys}))
    found = resolve_task("file:doors.yaml", None, Request(folder, folder / "cache"))
    return load_task(TaskSettings(source="file:doors.yaml"), found.path, Streams(0))


def prompts(task: ResolvedTask) -> list[str]:
    [part] = task.parts
    part.build_all_requests()
    return list(dict.fromkeys(instance.args[0] for instance in part._instances))


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"text": "'{{hint}} {{question}}'"}, "hint"),
        ({"text": "hint"}, "hint"),
        ({"text": "'{{hint | upper}} {{question}}'"}, "hint"),
        ({"text": "'{{hint ~ question}}'"}, "hint"),
        ({"text": "'{% for line in hint %}{{line}}{% endfor %}{{question}}'"}, "hint"),
        ({"text": "'{{meta.hint}} {{question}}'"}, "meta.hint"),
        ({"more": "doc_to_choice: ['{{hint}}', ' right']"}, None),
        ({"more": "doc_to_choice: '{{[hint, \" right\"]}}'"}, "hint"),
        ({"more": "doc_to_choice: choices\ngen_prefix: '{{hint}}'"}, "hint"),
        ({"output_type": "generate_until", "target": "hint", "metric": "exact_match"}, "hint"),
        ({"output_type": "generate_until", "target": "'{{hint}}'", "metric": "exact_match"}, "hint"),
    ],
)
def test_a_missing_field_that_would_be_shown_is_refused(
    tmp_path: Path, keys: dict[str, str], field: str | None
) -> None:
    rows = [door(0, hint="Look.", meta={"hint": "Look."}), door(1, meta={"other": 1})]
    if field is None:  # a list in the definition is no template
        assert len(prompts(load(tmp_path, rows, **keys))) == 2
        return
    with pytest.raises(UserError, match=rf"doors.yaml: task doors, row 2 of split `test`.*`{field}`"):
        load(tmp_path, rows, **keys)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'{{hint | default(\"Guess.\")}} {{question}}'", ["Guess. Door 0 opens to the", "Look. Door 1 opens to the"]),
        ("'{% if hint %}{{hint}} {% endif %}{{question}}'", ["Door 0 opens to the", "Look. Door 1 opens to the"]),
        ("'{{(hint or \"Guess.\")}} {{question}}'", ["Guess. Door 0 opens to the", "Look. Door 1 opens to the"]),
        (
            "'{% if hint is not none %}{{hint}} {% endif %}{{question}}'",
            ["Door 0 opens to the", "Look. Door 1 opens to the"],
        ),
        (
            "'{% if hint == None %}Guess. {% endif %}{{question}}'",
            ["Guess. Door 0 opens to the", "Door 1 opens to the"],
        ),
        ("question", ["Door 0 opens to the", "Door 1 opens to the"]),
    ],
)
def test_a_field_that_only_a_later_row_has_counts(tmp_path: Path, text: str, shown: list[str]) -> None:
    assert prompts(load(tmp_path, [door(0), door(1, hint="Look.")], text=text)) == shown


def test_files_of_one_split_share_their_fields(tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(json.dumps(door(7, hint="Look.")) + "\n")
    task = load(
        tmp_path, [door(0)], files="[rows.jsonl, more.jsonl]", text="'{{hint | default(\"Guess.\")}} {{question}}'"
    )
    assert prompts(task) == ["Guess. Door 0 opens to the", "Look. Door 7 opens to the"]


def test_a_missing_field_of_a_few_shot_example_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shots.jsonl").write_text(json.dumps(door(8)) + "\n" + json.dumps(door(9)) + "\n")
    files = "rows.jsonl, train: shots.jsonl"
    more = "doc_to_choice: choices\ntraining_split: train\nfewshot_split: train\nnum_fewshot: 1"
    with pytest.raises(UserError, match=r"few-shot row 1: 'hint' is undefined"):
        load(tmp_path, [door(0, hint="Look.")], files=files, text="'{{hint}} {{question}}'", more=more)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([door(0), door(1), door(2, answer="left")], r"rows.jsonl:3: the field `answer` \(a text\) .* another type"),
        ([door(0), door(1, choices=" left")], r"rows.jsonl:2: the field `choices` \(a text\)"),
        ([door(0), door(1, answer=2**70)], r"rows.jsonl:2: the field `answer` \(a number\)"),
        ([door(0), door(1, question="\ud83d")], r"rows.jsonl:2: the field `question`"),
        ([door(0), ["x"]], r"rows.jsonl:2: it is a list; an object"),
        ([door(0), door(1, answer=5)], r"row 2 of split `test`: the right answer is 5, none of the 2 choices"),
        ([door(0, choices=[1, 2])], r"doors.yaml"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, rows: list[Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        prompts(load(tmp_path, rows))


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("rows.jsonl", raw(b"[" * 100_000), "rows.jsonl:1: it is not usable JSON: nested too deeply"),
        ("rows.jsonl", raw(b'{"a": ' * 200 + b"1" + b"}" * 200), "rows.jsonl:1: it is nested more than 64 levels deep"),
        ("rows.json", raw(b'[{"question": "\xff"}]'), "rows.json: it is not UTF-8 at byte 16"),
        ("rows.jsonl", raw(b""), "rows.jsonl: holds no rows"),
        ("rows.parquet", raw(b"PAR1 no"), "rows.parquet: cannot be read as parquet"),
        ("rows.csv", raw(b"question,answer\n1\n"), "rows.csv: cannot be read as csv"),
        ("rows.csv", raw(b""), "rows.csv: cannot be read as csv"),
        ("rows.parquet", lambda path: datasets.Dataset.from_dict({"question": []}).to_parquet(path), "holds no rows"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, name: str, write: Callable[[Path], object], says: str) -> None:
    write(tmp_path / name)
    (tmp_path / "doors.yaml").write_text(
        YAML.format(
            files=name, output_type="generate_until", text="question", target="answer", metric="exact_match", more=""
        )
    )
    with pytest.raises(UserError, match=says) as caught:
        resolve_task("file:doors.yaml", None, Request(tmp_path, tmp_path / "cache"))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{{test: rows.jsonl}}", "{{test: [3]}}", "data_files: the split 'test' needs the name of a file"),
        ("{{test: rows.jsonl}}", "5", "data_files"),
        ("{{data_files: {{test: rows.jsonl}}}}", "files", "dataset_kwargs is a text; a table is needed"),
        ("dataset_path: json", "dataset_path: 2026-01-01", "dataset_path: the name of a data set"),
        ("metric: {metric}", "metric: 3", "metric_list: an entry has no `metric`"),
        ("metric: {metric}", "metric: [acc]", "metric_list: an entry has no `metric`"),
        ("metric: {metric}", "metric: {{a: 1}}", "metric_list: an entry has no `metric`"),
        ("[{{metric: {metric}, higher_is_better: true}}]", "acc", "metric_list: a list of entries"),
    ],
)
def test_a_definition_of_the_wrong_types_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    text = YAML.replace("{files}", "rows.jsonl").replace(old, new)
    more = "doc_to_choice: choices"
    text = text.format(output_type="multiple_choice", text="question", target="answer", metric="acc", more=more)
    (tmp_path / "doors.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        resolve_task("file:doors.yaml", None, Request(tmp_path, tmp_path / "cache"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("group: doors\ntask: [doors]\n", id="a group within itself"),
        pytest.param("group: doors\ntask: [{group: doors, task: [doors]}]\n", id="a group within a group of its name"),
        pytest.param(f"task: doors\ndataset_path: json\nmetadata: {'[' * 3000}{']' * 3000}\n", id="deep values"),
    ],
)
def test_a_definition_without_an_end_names_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "doors.yaml").write_text(text)
    with pytest.raises(UserError, match=r"doors\.yaml: "):
        resolve_task("file:doors.yaml", None, Request(tmp_path, tmp_path / "cache"))
