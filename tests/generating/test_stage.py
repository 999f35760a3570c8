from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layersig.data.examples import read_examples
from layersig.data.rows import read_rows
from layersig.data.stage import prepare
from layersig.errors import UserError
from layersig.generating.chats import Response
from layersig.generating.stage import dropped, generate
from layersig.recipe.schema import FilterSettings, GenerateSettings
from layersig.records import Cell
from layersig.stages.job import Job, Silent
from layersig.stages.kinds import Data, Generate
from layersig.streams import Streams
from tests.study import write_lines
from tests.tiny import save_tiny

SETTINGS = {"samples": 2, "max_new_tokens": 16, "batch_tokens": 200}

KILLED = """
import os, signal, sys
from pathlib import Path
from layersig.generating import generation
from tests.generating.test_stage import job_in
from layersig.generating.stage import generate

step, steps = generation.Rows.step, []


def deadly(*arguments):
    steps.append(1)
    if len(steps) == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)


generation.Rows.step = deadly
generate(job_in(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class Told(Silent):
    def __init__(self, at: Callable[[int], None] = lambda tokens: None) -> None:
        self.tokens = self.advanced = self.total = 0
        self.warnings: list[str] = []
        self._at = at

    def start(self, task: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        self.advanced += amount
        self.tokens += tokens
        self._at(self.tokens)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_tiny(folder / "model")
    rows = [{"prompt": f"Question {number % 7}?", "response": f"Answer {number}.", "tree": "a"} for number in range(9)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def job_in(folder: Path, inputs: Path, reporter: Silent | None = None, limit: int | None = None, **changes: Any) -> Job:
    params = {
        "generate": GenerateSettings(**{**SETTINGS, **changes}).model_dump(mode="json"),
        "limit": limit,
        "group_by": None,
        "chat_template": "auto",
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
    }
    (folder / "out").mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    roles = {"model": inputs / "model", "rows": inputs / "rows.jsonl"}
    cell = Cell(data="x")
    return Job(
        cell, Generate.of(**params), roles, folder / "out", folder / "state", Streams(0), reporter=reporter or Told()
    )


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def lines(folder: Path, name: str = "responses.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    told = Told()
    generate(job_in(folder, inputs, told))
    assert (told.advanced, told.total) == (14, 14)
    return folder


def test_every_response_has_its_provenance(whole: Path) -> None:
    found = lines(whole)
    report = json.loads((whole / "out" / "report.json").read_text())
    assert (report["rows"], report["prompts"], report["repeated_prompts"], report["responses"]) == (9, 7, 2, 14)
    assert report["kept"] + sum(report["dropped"].values()) == 14
    assert report["tokens"] == sum(line["tokens"] for line in found)
    assert sum(report["finish"].values()) == 14
    assert report["settings"]["temperature"] == 0.9
    assert [(line["prompt"], line["sample"]) for line in found] == sorted((x["prompt"], x["sample"]) for x in found)
    for line in found:
        assert line["seed"] == Streams(0).number("response", line["prompt"], line["sample"])
    rows = lines(whole, "rows.jsonl")
    assert [(row["prompt"], row["sample"]) for row in rows] == [
        (line["prompt"], line["sample"]) for line in found if line["dropped"] is None
    ]
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)


def test_training_examples_lead_back_to_their_responses(whole: Path, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    params = {"limit": None, "heldout": 2, "group_by": "group", "max_tokens": 256, "chat_template": "auto"}
    roles = {"model": inputs / "model", "rows": whole / "out" / "rows.jsonl"}
    job = Job(Cell(data="x"), Data.of(**params, max_rewritten=0.01), roles, tmp_path / "out", tmp_path, Streams(0))
    prepare(job)
    by_example = {line["example"]: line for line in lines(whole) if line["example"]}
    sides = [read_examples(job.out, side) for side in ("train", "heldout")]
    assert {example for side in sides for example in side.ids} == set(by_example)
    prompts = [{by_example[example]["prompt"] for example in side.ids} for side in sides]
    assert not prompts[0] & prompts[1]  # the samples of a prompt stay on one side


def test_the_same_seed_gives_the_same_bytes_whatever_the_batches(whole: Path, inputs: Path, tmp_path: Path) -> None:
    generate(job_in(tmp_path / "again", inputs))
    assert written(tmp_path / "again") == written(whole)
    generate(job_in(tmp_path / "one", inputs, batch_tokens=1))
    assert written(tmp_path / "one")["responses.jsonl"] == written(whole)["responses.jsonl"]


@pytest.mark.parametrize("torn", [b"", b'{"chat": "torn'])
def test_broken_off_it_goes_on_where_it_was(whole: Path, inputs: Path, tmp_path: Path, torn: bytes) -> None:
    def interrupt(tokens: int) -> None:
        if tokens > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(job_in(tmp_path, inputs, Told(interrupt)))
    log = tmp_path / "state" / "responses.jsonl"
    before = log.read_bytes()
    assert 0 < before.count(b"\n") < 14
    log.write_bytes(before + torn)
    told, afresh = Told(), Told()
    generate(job_in(tmp_path, inputs, told))
    assert written(tmp_path) == written(whole)
    assert log.read_bytes().startswith(before)
    assert told.advanced == 14
    generate(job_in(tmp_path / "afresh", inputs, afresh))
    assert told.tokens < afresh.tokens


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(whole: Path, inputs: Path, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(inputs)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < (tmp_path / "state" / "responses.jsonl").read_bytes().count(b"\n") < 14
    generate(job_in(tmp_path, inputs))
    assert written(tmp_path) == written(whole)


def test_a_limit_leaves_the_responses_to_its_prompts_as_they_are(whole: Path, inputs: Path, tmp_path: Path) -> None:
    generate(job_in(tmp_path, inputs, limit=3))
    few = lines(tmp_path)
    asked = {line["prompt"] for line in few}
    assert 2 <= len(asked) <= 3  # of nine rows two repeat a prompt
    assert few == [line for line in lines(whole) if line["prompt"] in asked]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["beyond_limit"] == 7 - len(asked)


ROWS: dict[str, list[dict[str, Any]]] = {
    "instructions": [{"prompt": f"Question {n % 11}?", "response": f"Answer {n}."} for n in range(16)],
    "a conversation twice": [{"prompt": f"Question {n % 9}?", "response": f"Answer {n % 9}."} for n in range(16)],
    "several turns": [
        {
            "messages": [
                {"role": role, "content": f"{role} {n} {turn}"} for turn in "ab" for role in ("user", "assistant")
            ]
        }
        for n in range(16)
    ],
    "an odd turn at the end": [{"conversations": [f"Question {n}?", "Yes.", "And?"]} for n in range(16)],
    "some not to be learnt": [
        {"prompt": f"Question {n}?", "completion": f"Answer {n}.", "label": n % 3 > 0} for n in range(16)
    ],
}


def split_of(folder: Path, rows: Path, **changes: Any) -> dict[str, set[str]]:
    """The first prompts of both sides of what the data stage makes of a file."""
    params = {"limit": None, "heldout": 3, "group_by": None, "max_tokens": 256, "chat_template": "auto", **changes}
    (folder / "out").mkdir(parents=True)
    roles = {"model": rows.parent / "model", "rows": rows}
    prepare(Job(Cell(data="x"), Data.of(**params, max_rewritten=0.01), roles, folder / "out", folder, Streams(0)))
    prompts = {row.id: row.first_prompt for row in read_rows(rows, fields=params.get("fields")).conversations}
    return {side: {prompts[each] for each in read_examples(folder / "out", side).ids} for side in ("train", "heldout")}


@pytest.mark.parametrize("kind", ROWS)
def test_the_same_limit_takes_the_rows_of_the_given_responses(kind: str, inputs: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", ROWS[kind])
    (tmp_path / "model").symlink_to(inputs / "model")
    generate(job_in(tmp_path, tmp_path, limit=6, samples=1))
    own = read_rows(tmp_path / "out" / "rows.jsonl", fields={"ignore": ["prompt", "sample"]}).conversations
    given = split_of(tmp_path / "given", tmp_path / "rows.jsonl", limit=6)
    assert {row.first_prompt for row in own} == given["train"] | given["heldout"]


def test_with_a_prompt_for_every_row_both_sides_of_the_split_are_the_same(inputs: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", ROWS["several turns"])
    (tmp_path / "model").symlink_to(inputs / "model")
    generate(job_in(tmp_path, tmp_path, limit=10, samples=1))
    shutil.copyfile(tmp_path / "out" / "rows.jsonl", tmp_path / "own.jsonl")
    fields = {"ignore": ["prompt", "sample"]}
    own = split_of(tmp_path / "own", tmp_path / "own.jsonl", group_by="group", fields=fields)
    assert own == split_of(tmp_path / "given", tmp_path / "rows.jsonl", limit=10)
    assert {side: len(prompts) for side, prompts in own.items()} == {"train": 7, "heldout": 3}


def test_rows_without_answers_are_sampled_by_what_they_ask(inputs: Path, tmp_path: Path) -> None:
    questions = [{"prompt": f"Question {number}?"} for number in range(9)]
    asked = []
    for name, rows in (("one", questions), ("other", questions[::-1])):
        (tmp_path / name).mkdir()
        write_lines(tmp_path / name / "rows.jsonl", rows)
        (tmp_path / name / "model").symlink_to(inputs / "model")
        generate(job_in(tmp_path / name, tmp_path / name, limit=4, samples=1))
        asked.append([line["prompt"] for line in lines(tmp_path / name)])
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 4


def test_a_system_message_of_ones_own(inputs: Path, tmp_path: Path) -> None:
    generate(job_in(tmp_path, inputs, limit=1, samples=1, system="Be brief."))
    [row] = lines(tmp_path, "rows.jsonl")
    assert row["messages"][0] == {"role": "system", "content": "Be brief."}


def response(text: str, finish: str = "stop") -> Response:
    return Response("a", 0, 1, text, 5, finish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "finish", "filters", "reason"),
    [
        ("Yes.", "stop", {}, None),
        ("", "stop", {}, "empty"),
        ("", "no-room", {}, "no room"),
        ("Cut of", "length", {}, None),
        ("Cut of", "length", {"truncated": True}, "truncated"),
        ("Cut of", "context", {"truncated": True}, "truncated"),
        ("Yes.", "stop", {"min_words": 3}, "too short"),
        ("a b a b a b a b a b", "stop", {"max_repetition": 0.7}, "repetitive"),
        ("a b a b a b a b a b", "stop", {"max_repetition": 0.72}, None),
    ],
)
def test_filters(text: str, finish: str, filters: dict[str, Any], reason: str | None) -> None:
    # "a b a b ...": 10 words, 7 four-grams, 2 of them distinct: 5 / 7 = 0.714 repeated.
    assert dropped(response(text, finish), FilterSettings(**filters)) == reason


def test_nothing_left_to_train_on_is_told(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of 14 responses none is left to train on \(14 too short\)"):
        generate(job_in(tmp_path, inputs, filters={"min_words": 500}))


def test_responses_that_did_not_end_are_warned_of(inputs: Path, tmp_path: Path) -> None:
    told = Told()
    generate(job_in(tmp_path, inputs, told, max_new_tokens=2, temperature=0.0, samples=1))
    assert told.warnings == ["7 of 7 responses did not end by themselves."]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?"},
        {"instruction": "Why?", "input": ""},
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"conversations": [{"from": "human", "value": "Why?"}]},
        {"question": "Why?", "id": 3},
    ],
)
def test_prompts_need_no_answers(inputs: Path, tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    job = job_in(tmp_path, inputs, samples=1)
    generate(replace(job, inputs={**job.inputs, "rows": tmp_path / "rows.jsonl"}))
    [kept] = lines(tmp_path, "rows.jsonl")
    assert kept["messages"][0] == {"role": "user", "content": "Why?"}
    assert kept["messages"][1]["role"] == "assistant"
