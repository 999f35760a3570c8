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
        (JUDGE, "", "conversations", "evaluate.conversations", "add a table [judge]"),
        (TALK, "", "[judge]", "judge", "there is nothing to judge; list sets of questions"),
        ('"pypi:mt-bench"', '"mt-bench"', "mt-bench", "evaluate.conversations.0", "must be `scheme:reference`"),
        ('"pypi:mt-bench"', '"s3:mt"', "s3:mt", "evaluate.conversations.0.source", 'no scheme "s3"'),
        ('"pypi:mt-bench"', '"pypi:talk"', "pypi:talk", "evaluate.conversations.1", '"talk" is taken already'),
        ('"pypi:mt-bench"', '"pypi:mmlu"', "pypi:mmlu", "evaluate.conversations.0", '"mmlu" is taken already'),
        ('"pypi:mt-bench"', '"file:a b.jsonl"', "a b", "evaluate.conversations.0", '"a b" cannot name a set'),
        ("limit = 9", "limt = 9", "limt", "evaluate.conversations.1.limt", 'did you mean "limit"?'),
        ('"http://localhost:8000/v1"', '"localhost:8000"', "endpoint", "judge.endpoint", "must be a base URL"),
        ("//localhost", "//user:word@localhost", "endpoint", "judge.endpoint", "without a user or a query"),
        ('"KEY"', '"sk-abc"', "key_env", "judge.key_env", "must be the name of an environment variable, never the key"),
        ('model = "judge"\n', "", "[judge]", "judge.model", "missing; give the id of the judge"),
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


NO_ENDPOINT = FULL.replace('endpoint = "http://localhost:8000/v1"\n', "")


@pytest.mark.parametrize(
    "judge", ['model = "judge"\nkey_env = "KEY"\n', "repeats = 3\n", "", 'model = "judge"\npairwise = false\n']
)
def test_without_an_endpoint_conversations_are_left_out_and_told(tmp_path: Path, judge: str) -> None:
    text = FULL.replace(JUDGE, "") + "[judge]\n" + judge
    loaded = load(write(tmp_path, text))
    assert loaded.recipe.judge is None
    assert loaded.recipe.evaluate.conversations == ()
    (told,) = loaded.skipped
    assert told.startswith("mt-bench, talk: not asked, because [judge] has no endpoint")
    assert "judge.endpoint=URL judge.model=ID" in told
    given = load(write(tmp_path, text), ("judge.endpoint=http://localhost:1/v1", "judge.model=m"))
    assert given.skipped == ()
    assert given.recipe.judge is not None
    assert (given.recipe.judge.endpoint, given.recipe.judge.model) == ("http://localhost:1/v1", "m")
    assert len(given.recipe.evaluate.conversations) == 2


def test_a_declared_grade_needs_its_judge(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='the declared outcome "talk" comes from the judge'):
        load(write(tmp_path, NO_ENDPOINT), ("analyze.outcome=talk",))


@pytest.mark.parametrize("table", ["05", "06", "07", "12", "14", "16", "17", "18"])
def test_the_papers_tables_ask_mt_bench_where_there_is_an_endpoint(table: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / "paper" / f"table-{table}.toml"
    assert load(path).skipped[0].startswith("mt-bench: not asked")
    judged = load(path, ("judge.endpoint=https://judge.example/v1", "judge.model=m", "judge.key_env=KEY"))
    assert [each.label for each in judged.recipe.evaluate.conversations] == ["mt-bench"]
    assert judged.skipped == ()
