"""A prompt or a setting that the judge's endpoint refuses, and the key that it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from layersig.endpoint.client import Refused
from layersig.errors import UserError
from tests.judging.asking import KEY, PROMPT, endpoint
from tests.judging.server import Answer, judge_server, scripted


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_and_not_shown(status: int) -> None:
    with (
        judge_server(scripted([Answer(status=status, body=f'{{"error": {{"message": "bad {KEY}"}}}}')])) as judge,
        pytest.raises(UserError, match=rf"refuses the key in JUDGE_KEY \({status}\); set JUDGE_KEY") as error,
    ):
        endpoint(judge, KEY).ask(PROMPT)
    assert KEY not in str(error.value)
    assert len(judge.bodies) == 1


def test_a_key_that_is_asked_for_but_not_given() -> None:
    with (
        judge_server(scripted([Answer(status=401, body="")])) as judge,
        pytest.raises(UserError, match=r"refuses requests without a key.*`judge.key_env`"),
    ):
        endpoint(judge).ask(PROMPT)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_refused(status: int) -> None:
    with (
        judge_server(scripted([Answer(status=status, body='{"detail": "too long"}')])) as judge,
        pytest.raises(Refused, match=f"{status}: too long"),
    ):
        endpoint(judge).ask(PROMPT)


def test_an_unknown_model_or_path() -> None:
    with (
        judge_server(scripted([Answer(status=404, body='{"error": "no such model"}')])) as judge,
        pytest.raises(
            UserError, match=r"404 \(no such model\); correct `judge.endpoint`, or `judge.model` \(judge-7b\)"
        ),
    ):
        endpoint(judge).ask(PROMPT)


UNSUPPORTED = (
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported."
)


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ({"error": {"message": UNSUPPORTED, "param": "temperature"}}, 'judge.temperature = "default"'),
        ({"error": {"message": "`temperature` is deprecated for this model."}}, 'judge.temperature = "default"'),
        ({"error": "temperature must be 1 for reasoning models"}, 'judge.temperature = "default"'),
        (
            {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted", "input": 0.0}]},
            'judge.temperature = "default"',
        ),
        (
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                    "param": "max_tokens",
                }
            },
            'judge.length_key = "max_completion_tokens"',
        ),
        ({"message": "unknown field max_tokens"}, 'judge.length_key = "max_completion_tokens"'),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_setting_that_is_refused_is_named_with_what_to_do(body: dict[str, Any], remedy: str, status: int) -> None:
    with (
        judge_server(scripted([Answer(status=status, body=json.dumps(body))])) as judge,
        pytest.raises(UserError) as error,
    ):
        endpoint(judge).ask(PROMPT)
    assert f"set `{remedy}`" in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "'max_tokens' is too large: 9. This model's maximum context length is 10 tokens"}},
        {
            "error": {
                "message": "You requested 14 tokens, 9 of them max_tokens; the context is 10",
                "param": "max_tokens",
            }
        },
        {"error": {"message": "The prompt on the temperature of the sea was flagged"}},
        {"detail": [{"loc": ["body", "messages"], "msg": "too long", "input": {"temperature": 0.0}}]},
        {"error": {"message": "prompt is too long", "param": "messages"}},
    ],
)
def test_a_prompt_that_is_refused_is_no_setting(body: dict[str, Any]) -> None:
    with (
        judge_server(scripted([Answer(status=400, body=json.dumps(body))])) as judge,
        pytest.raises(Refused),
    ):
        endpoint(judge).ask(PROMPT)
