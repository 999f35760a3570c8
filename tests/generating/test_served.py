"""Responses from a server, against those that the stage generates itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.errors import MachineError, UserError
from layersig.generating.chats import Chat, answer_chats
from layersig.generating.stage import generate
from layersig.models.load import load_model, load_tokenizer
from layersig.recipe.load import load
from layersig.stages.job import Job
from layersig.stages.kinds import Generate
from layersig.streams import Streams
from tests.generating.test_stage import SETTINGS, inputs, job_in
from tests.judging.server import Answer, judge_server, scripted

__all__ = ["inputs"]

GREEDY = {"samples": 1, "temperature": 0.0, "max_new_tokens": 16, "batch_tokens": 200}
ASKING = {"key_env": None, "timeout": 20.0, "concurrency": 3}


def served_job(inputs: Path, work: Path, url: str, **settings: Any) -> Job[Generate]:
    server = {"url": url, "model": "tiny", "length_key": "max_tokens"}
    job = job_in(work, inputs, **settings)
    return replace(job, spec=Generate.of(**job.spec.to_json(), server=server, asking=ASKING))


class Twin:
    """A server that runs the same model."""

    def __init__(self, folder: Path) -> None:
        self._model = load_model(folder, dtype="float32", device="cpu")
        self._format = ChatFormat(load_tokenizer(folder))
        self._lock = Lock()

    def __call__(self, body: Mapping[str, Any], number: int) -> Answer:
        turns = tuple(Message(each["role"], each["content"]) for each in body["messages"])
        with self._lock:  # a model runs in one thread at a time
            [found] = answer_chats(
                self._model, self._format, [Chat("asked", turns)], Streams(0), max_new_tokens=body["max_tokens"]
            )
        usage = {"total_tokens": 100 + found.tokens, "completion_tokens": found.tokens}
        return Answer(found.text, found.finish, usage=usage)


def test_greedy_responses_of_a_server_are_those_that_are_generated_here(inputs: Path, tmp_path: Path) -> None:
    here = job_in(tmp_path / "here", inputs, **GREEDY)
    generate(here)
    with judge_server(Twin(inputs / "model")) as server:
        there = served_job(inputs, tmp_path / "there", server.url, **GREEDY)
        generate(there)
    for name in ("responses.jsonl", "rows.jsonl"):
        assert (there.out / name).read_bytes() == (here.out / name).read_bytes()
    own, other = (json.loads((job.out / "report.json").read_text()) for job in (here, there))
    assert other.pop("server") == {
        "url": server.url, "model": "tiny", "length_key": "max_tokens", "models": ["tiny-2026-09-21"]
    }  # fmt: skip
    assert other == own
    assert {body["temperature"] for body in server.bodies} == {0.0}
    assert not any("top_p" in body for body in server.bodies)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (GREEDY, "repetition_penalty = 1.05"),
        (SETTINGS, "repetition_penalty = 1.05, min_p = 0.1"),
        ({**SETTINGS, "top_k": None}, "repetition_penalty = 1.05, top_k = 1, min_p = 0.1"),
    ],
)
def test_settings_that_a_server_may_add_are_named(
    inputs: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(inputs / "model", model)
    own = {"repetition_penalty": 1.05, "top_k": 1, "min_p": 0.1, "top_p": 0.8, "num_beams": 1, "temperature": 0.6}
    (model / "generation_config.json").write_text(json.dumps(own))
    with judge_server(scripted(["some words"])) as server:
        job = served_job(inputs, tmp_path / "job", server.url, **{"top_k": 40, **settings})
        generate(replace(job, inputs={**job.inputs, "model": model}))
    (warning,) = [each for each in job.reporter.warnings if "generation_config.json" in each]
    assert f"says {told}, which" in warning


def test_drawn_responses_have_seeds_of_their_own(inputs: Path, tmp_path: Path) -> None:
    with judge_server(scripted(["some words"])) as server:
        generate(served_job(inputs, tmp_path, server.url, **SETTINGS))
    assert len({body["seed"] for body in server.bodies}) == len(server.bodies)
    assert {body["top_p"] for body in server.bodies} == {0.95}


def test_what_was_received_is_not_asked_for_again(inputs: Path, tmp_path: Path) -> None:
    with judge_server(scripted(["one", "two", Answer(status=401, body="no")])) as server:
        job = served_job(inputs, tmp_path, server.url, **SETTINGS)
        with pytest.raises(UserError, match=r"refuses requests without a key.*data\.generate\.endpoint\.key_env"):
            generate(job)
        first = len((job.work / "responses.jsonl").read_text().splitlines())
        server.bodies.clear()
        server.behaviour = scripted(["three"])
        generate(job)
    rows = (job.out / "responses.jsonl").read_text().splitlines()
    assert 0 < first < len(rows)
    assert len(server.bodies) == len(rows) - first


def test_a_prompt_that_is_refused_leaves_no_row_and_all_of_them_are_an_error(inputs: Path, tmp_path: Path) -> None:
    refusal = Answer(status=400, body='{"error": {"message": "too long"}}')
    with judge_server(lambda body, number: refusal if number == 2 else "fine") as server:
        job = served_job(inputs, tmp_path / "one", server.url, **SETTINGS)
        generate(job)
        assert json.loads((job.out / "report.json").read_text())["dropped"] == {"no room": 1}
        server.behaviour = lambda body, number: refusal
        with pytest.raises(UserError, match="refuses every prompt"):
            generate(served_job(inputs, tmp_path / "all", server.url, **SETTINGS))
        gone = server.url
    with pytest.raises(MachineError, match=r"nothing listens at .*start the server's server|data\.generate\.endpoint"):
        generate(served_job(inputs, tmp_path / "gone", gone, **SETTINGS))


def test_prompts_that_are_refused_are_no_error_when_nothing_else_is_left(inputs: Path, tmp_path: Path) -> None:
    with judge_server(scripted(["one", "two", Answer(status=401, body="no")])) as server:
        job = served_job(inputs, tmp_path, server.url, **SETTINGS)
        with pytest.raises(UserError, match="refuses requests without a key"):
            generate(job)
        held = len((job.work / "responses.jsonl").read_text().splitlines())
        server.behaviour = lambda body, number: Answer(status=400, body='{"error": {"message": "too long"}}')
        generate(job)
    assert 0 < held < 14
    assert json.loads((job.out / "report.json").read_text())["dropped"] == {"no room": 14 - held}


def test_that_all_prompts_are_refused_stays_an_error(inputs: Path, tmp_path: Path) -> None:
    refusal = Answer(status=400, body='{"error": {"message": "too long"}}')
    with judge_server(lambda body, number: refusal) as server:
        job = served_job(inputs, tmp_path, server.url, **SETTINGS)
        for _ in range(2):
            with pytest.raises(UserError, match="refuses every prompt"):
                generate(job)
        server.behaviour = scripted(["fine"])
        generate(job)
    assert json.loads((job.out / "report.json").read_text())["dropped"] == {}


def test_the_fingerprint_knows_who_writes_and_not_how_it_is_asked(inputs: Path, tmp_path: Path) -> None:
    job = served_job(inputs, tmp_path, "http://localhost:8000/v1", **SETTINGS)
    spec = job.spec
    assert spec.fingerprinted["server"] == {
        "url": "http://localhost:8000/v1",
        "model": "tiny",
        "length_key": "max_tokens",
    }
    assert "asking" not in spec.fingerprinted
    assert not spec.computes


RECIPE = """
name = "served"
[model]
source = "path:model"
{template}
[[data]]
name = "chats"
source = "file:chats.jsonl"
[data.generate.endpoint]
url = "{url}"
model = "tiny"
[scorers.ila]
kind = "ila"
"""


@pytest.mark.parametrize(
    ("template", "url", "said"),
    [
        ('chat_template = "plain"', "http://localhost:8000/v1", "own template"),
        ("", "localhost:8000", "base URL"),
    ],
)
def test_recipes_that_no_server_can_follow_are_refused(template: str, url: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(template=template, url=url))
    with pytest.raises(UserError, match=said):
        load(path)
