"""Conversations and tasks that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow
import pyarrow.parquet

from tests.broken.bench import Bench, Case, each, edit, recipe, remove, write


def rows(change: Callable[[list[Any]], Any]) -> Callable[[Bench], None]:
    return lambda bench: bench.rows(change)


def unanswered(rows: list[Any]) -> None:
    rows[16]["messages"].pop()


def silent(rows: list[Any]) -> None:
    rows[16]["messages"][1]["content"] = " "


def two_questions(rows: list[Any]) -> None:
    rows[4]["messages"].insert(1, {"role": "user", "content": "again"})


def strange_role(rows: list[Any]) -> None:
    rows[4]["messages"][1]["role"] = "bot"


def other_file(name: str) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        (bench.folder / "chats.jsonl").rename(bench.folder / name)
        bench.edit("recipe.toml", "chats.jsonl", name)

    return harm


def parquet(spoil: Callable[[bytes], bytes]) -> Callable[[Bench], None]:
    def harm(bench: Bench) -> None:
        path = bench.folder / "chats.parquet"
        found = [json.loads(line) for line in (bench.folder / "chats.jsonl").read_text().splitlines()]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), path)
        path.write_bytes(spoil(path.read_bytes()))
        bench.edit("recipe.toml", "chats.jsonl", "chats.parquet")

    return harm


CHATS = [
    Case("an empty file", write("chats.jsonl", ""), 2, ("chats.jsonl: the file is empty", "one conversation a row")),
    Case("blank lines", write("chats.jsonl", "\n\n"), 2, ("data/chats: ", "chats.jsonl: it holds no rows")),
    Case(
        "row 17 without an answer",
        rows(unanswered),
        2,
        ("chats.jsonl: 1 of 24 rows", "Correct", "row 17: `messages` ends"),
    ),
    Case("row 17 with an empty answer", rows(silent), 2, ("row 17: `messages[1].content` is empty; a text is needed",)),
    Case("roles that do not alternate", rows(two_questions), 2, ("row 5: `messages[1].role`", "assistant is due")),
    Case("a strange role", rows(strange_role), 2, ("row 5: `messages[1].role` is 'bot'; allowed: system, user",)),
    Case("no JSON", edit("chats.jsonl", '"say 6"', '"say 6'), 2, ("row 7: it is not JSON", "column 54")),
    Case(
        "NaN for an answer",
        edit("chats.jsonl", '"3 abcabcabcabc"', "NaN"),
        2,
        ("row 4: `messages[1].content` is a number",),
    ),
    Case(
        "no UTF-8",
        write("chats.jsonl", b'{"prompt": "\xff", "response": "a"}\n'),
        2,
        ("row 1: it is not UTF-8 at byte 13",),
    ),
    Case(
        "rows of no known shape",
        write("chats.jsonl", '{"text": "a"}\n'),
        2,
        ("fields found: `text`", "already rendered", "Accepted: `messages`"),
    ),
    Case("lists for rows", write("chats.jsonl", "[1]\n"), 2, ("row 1: it is a list; an object",)),
    Case("no file", remove("chats.jsonl"), 2, ("data.0.source: there is no file", "chats.jsonl; a path starts")),
    Case("a wrong suffix", other_file("chats.csv"), 2, ("chats.csv: a data file must end in .parquet, .jsonl, .json",)),
    Case("one conversation", rows(lambda rows: rows[:1]), 2, ("chats.jsonl: 1 conversations", "smaller `heldout`")),
    Case("equal conversations", rows(lambda rows: rows[:1] * 24), 2, ("chats.jsonl: 1 conversations", "more data")),
    Case("conversations all too long", recipe("= 64", "= 8"), 2, ("chats.jsonl: none of the 18", "Raise `max_tokens`")),
    Case(
        "no field to group by",
        recipe("max_tokens = 64", 'group_by = "tree_id"'),
        2,
        ("chats.jsonl: `group_by`: no row has the field `tree_id`",),
    ),
    Case(
        "a parquet file cut short",
        parquet(lambda raw: raw[:-50]),
        2,
        ("chats.parquet: it is not a Parquet file", "Write it"),
    ),
    Case(
        "a damaged page of parquet",
        parquet(lambda raw: raw[:20] + bytes(100) + raw[120:]),
        2,
        ("chats.parquet: it is not a Parquet file that can be read",),
    ),
]

TASKS = [
    Case("no task file", remove("choice.yaml"), 2, ("choice.yaml: no such task file",)),
    Case("no YAML", edit("choice.yaml", "split: test", "split: [test"), 2, ("choice.yaml:8: not valid YAML",)),
    Case("binary YAML", write("choice.yaml", b"\xff\xfe\x00"), 2, ("choice.yaml: not valid YAML",)),
    Case(
        "a list for a task",
        write("choice.yaml", "- a\n"),
        2,
        ("choice.yaml: cannot be read as an lm-eval task", "got list"),
    ),
    Case("a task without a name", edit("choice.yaml", "task: choice\n", ""), 2, ("choice.yaml: ", "`task: my_task`")),
    Case(
        "no rows of a task",
        remove("choice.jsonl"),
        2,
        ("choice.jsonl: no such file", "choice names it as its test split"),
    ),
    Case("rows that are no JSON", edit("choice.jsonl", "of 3", 'of "3'), 2, ("choice.jsonl:4: it is not JSON",)),
    Case("an empty file of rows", write("choice.jsonl", ""), 2, ("choice.jsonl: holds no rows",)),
    Case(
        "a field that is not there",
        edit("choice.yaml", "{{question}}", "{{qestion}}"),
        2,
        ("choice.yaml: ", "'qestion' is undefined"),
    ),
    Case(
        "no field of choices",
        edit("choice.yaml", "choice: choices", "choice: chioces"),
        2,
        ("choice.yaml: doc_to_choice: ", "no field `chioces`; did you mean `choices`?"),
    ),
    Case(
        "an answer that is no choice",
        edit("choice.jsonl", '"answer": 1', '"answer": 7'),
        2,
        ("choice.yaml: task choice, row 2 of split `test`", "answer is 7", "correct the row or `doc_to_target`"),
    ),
    Case(
        "no field of answers",
        edit("choice.yaml", "target: answer", "target: anwser"),
        2,
        ("row 1 of split `test`", "'anwser'"),
    ),
    Case(
        "no such split",
        edit("choice.yaml", "split: test", "split: tset"),
        2,
        ("choice", "no split `tset`", "have test"),
    ),
    Case(
        "an unknown metric",
        edit("choice.yaml", "acc\n", "acccc\n"),
        2,
        ("choice.yaml: lm-eval has no metric `acccc`; did you mean `acc`?",),
    ),
    Case(
        "an unknown task",
        recipe('"file:choice.yaml"', '"helaswag"'),
        2,
        ("evaluate.tasks: lm-eval has no task `helaswag`; did you mean hellaswag",),
    ),
    Case(
        "an unknown embedded task",
        recipe("file:choice.yaml", "pypi:helaswag"),
        2,
        ("pypi:helaswag", "there are arc_challenge"),
    ),
    Case(
        "an unknown scheme of tasks",
        recipe("file:choice", "fiel:choice"),
        2,
        ("evaluate.tasks: 'fiel:choice.yaml'", "file:X.yaml"),
    ),
    Case(
        "more examples than rows",
        recipe('["file:choice.yaml"]', '[{ source = "file:choice.yaml", shots = 50 }]'),
        2,
        ("evaluate/base: task choice: row 0 cannot be shown with 50 few-shot examples",),
    ),
    Case(
        "a task of the hub offline",
        recipe("file:choice.yaml", "hellaswag"),
        3,
        ("the task hellaswag is not in the cache", "`layersig fetch RECIPE`"),
        ("run", "recipe.toml", "--offline"),
    ),
]


@each(CHATS)
def test_broken_conversations(bench: Bench, case: Case) -> None:
    case.check(bench)


@each(TASKS)
def test_a_broken_task_is_told_before_anything_is_trained(bench: Bench, case: Case) -> None:
    told = case.check(bench)
    assert "tune/" not in told.err
