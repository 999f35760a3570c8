"""Sets of questions and their judge in a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from layersig.recipe.schema import ConversationSettings
from tests.recipe.example import EXAMPLE, line_of, write

JUDGE = '[judge]\nendpoint = "http://localhost:8000/v1"\nmodel = "judge"\nkey_env = "KEY"\n'
TALK = 'conversations = ["pypi:mt-bench", { source = "file:talk.jsonl", limit = 9 }]\n'
TASKS = 'tasks = ["hellaswag"'
FULL = EXAMPLE.replace(TASKS, TALK + TASKS) + JUDGE


def test_a_judge_and_its_questions_are_read(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, FULL)).recipe
    assert [each.label for each in recipe.evaluate.conversations] == ["mt-bench", "talk"]
    assert recipe.judge is not None
    assert (recipe.judge.repeats, recipe.judge.pairwise, recipe.judge.temperature) == (2, True, 0.0)
    again = tmp_path / "resolved.toml"
    again.write_text(load(write(tmp_path, FULL)).resolved)
    assert load(again).recipe == recipe


def test_a_smoke_run_asks_little(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, FULL), smoke=True).recipe
    assert [each.limit for each in recipe.evaluate.conversations] == [4, 4]
    assert recipe.evaluate.answers.max_new_tokens == 16


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("pypi:mt-bench", "mt-bench"),
        ("hub:HuggingFaceH4/mt_bench_prompts@main", "mt_bench_prompts"),
        ("file:sub/my.questions.jsonl", "my.questions"),
        ("file:questions.json", "questions"),
    ],
)
def test_a_set_is_called_by_the_last_part_of_its_source(source: str, label: str) -> None:
    assert ConversationSettings(source=source).label == label
    assert ConversationSettings(source=source, name="other").label == "other"


@pytest.mark.parametrize(
    ("old", "new", "marker", "key", "words"),
    [
        (JUDGE, "", "conversations", "evaluate.conversations", "give a table [judge]"),
        (TALK, "", "[judge]", "judge", "there is nothing to judge; name sets of questions"),
        ('"pypi:mt-bench"', '"mt-bench"', "mt-bench", "evaluate.conversations.0", "must be `scheme:reference`"),
        ('"pypi:mt-bench"', '"s3:mt"', "s3:mt", "evaluate.conversations.0.source", 'no scheme "s3"'),
        ('"pypi:mt-bench"', '"pypi:talk"', "pypi:talk", "evaluate.conversations.1", '"talk" is taken already'),
        ('"pypi:mt-bench"', '"pypi:mmlu"', "pypi:mmlu", "evaluate.conversations.0", '"mmlu" is taken already'),
        ('"pypi:mt-bench"', '"file:a b.jsonl"', "a b", "evaluate.conversations.0", '"a b" cannot name a set'),
        ("limit = 9", "limt = 9", "limt", "evaluate.conversations.1.limt", 'did you mean "limit"?'),
        ('"http://localhost:8000/v1"', '"localhost:8000"', "endpoint", "judge.endpoint", "must be a base URL"),
        ("//localhost", "//user:word@localhost", "endpoint", "judge.endpoint", "without a user or a query"),
        ('"KEY"', '"sk-abc"', "key_env", "judge.key_env", "must be the name of an environment variable, never the key"),
        ('model = "judge"\n', "", "[judge]", "judge.model", "missing (Id of the judge"),
        ("key_env", "keyenv", "keyenv", "judge.keyenv", 'did you mean "key_env"?'),
        ('key_env = "KEY"', "repeats = 0", "repeats", "judge.repeats", "must be at least 1; got 0"),
        ('key_env = "KEY"', "concurrency = 99", "concurrency", "judge.concurrency", "must be at most 64"),
    ],
)
def test_a_fault_tells_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, marker: str, key: str, words: str
) -> None:
    assert old in FULL
    text = FULL.replace(old, new, 1)
    with pytest.raises(UserError) as error:
        load(write(tmp_path, text))
    message = str(error.value)
    assert f"study.toml:{line_of(text, marker)}: {key}" in message
    assert words in message
    assert "\n" not in message
