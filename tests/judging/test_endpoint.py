from __future__ import annotations

import datetime as dt
import threading
from email.utils import format_datetime
from typing import Any

import pytest

from layersig.endpoint import client as module
from layersig.endpoint.client import Halted, is_local
from layersig.errors import MachineError, UserError
from tests.judging.asking import KEY, PROMPT, endpoint
from tests.judging.server import Answer, judge_server, scripted


class Waits:
    """Stands for the event that ends waiting, and remembers how long one would have waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_a_question_gets_its_answer_with_model_and_date() -> None:
    with judge_server(scripted(["Well."])) as judge:
        reply = endpoint(judge, KEY).ask(PROMPT)
    assert reply == ("Well.", "stop", "judge-7b-2026-09-21", "2026-09-21T14:13:20+00:00", 11, 0)
    (body,) = judge.bodies
    assert body == {
        "model": "judge-7b",
        "temperature": 0.0,
        "max_tokens": 9,
        "messages": PROMPT,
        "path": "/v1/chat/completions",
    }
    assert judge.keys == [f"Bearer {KEY}"]


def test_without_a_key_none_is_sent() -> None:
    with judge_server() as judge:
        endpoint(judge).ask([PROMPT[0], PROMPT[0]])
    assert judge.keys == [None]


def test_a_busy_judge_is_asked_again_after_the_time_it_names() -> None:
    halt = Waits()
    soon = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30), usegmt=True)
    busy = [Answer(status=429, body="slow", headers={"Retry-After": value}) for value in ("7", "0.5", soon)]
    with judge_server(scripted([*busy, Answer(status=503, body=""), "Well."])) as judge:
        assert endpoint(judge, halt=halt).ask(PROMPT).text == "Well."
    assert halt.seconds[:2] == [7.0, 0.5]
    assert 25 < halt.seconds[2] <= 30
    assert halt.seconds[3] == 8.0  # the fourth failure in a row


def test_without_a_time_the_waits_double_up_to_a_cap_and_end() -> None:
    halt = Waits()
    answer = Answer(status=429, body='{"error": {"message": "quota of this month is used up"}}')
    with (
        judge_server(scripted([answer])) as judge,
        pytest.raises(MachineError, match=r"429 \(quota of this month is used up\), 8 times for one prompt.*are kept"),
    ):
        endpoint(judge, halt=halt).ask(PROMPT)
    assert halt.seconds == [1, 2, 4, 8, 16, 32, 60]
    assert len(judge.bodies) == module.BUSY_TRIES == 8


def test_failures_of_another_kind_do_not_count_against_one() -> None:
    busy, broken = Answer(status=429, body="slow"), Answer(drop=True)
    with judge_server(scripted([busy, busy, broken, broken, busy, "Well."])) as judge:
        assert endpoint(judge, halt=Waits()).ask(PROMPT).text == "Well."


def test_half_of_a_surrogate_pair_can_be_written() -> None:
    choice = '{"message": {"content": "nice \\ud83d"}, "finish_reason": "stop"}'
    with judge_server(scripted([Answer(body=f'{{"choices": [{choice}]}}')])) as judge:
        assert endpoint(judge).ask(PROMPT).text.encode() == b"nice ?"


def test_a_wait_of_hours_is_not_waited_for() -> None:
    with (
        judge_server(scripted([Answer(status=429, body="", headers={"Retry-After": "7200"})])) as judge,
        pytest.raises(MachineError, match="answers 429"),
    ):
        endpoint(judge, halt=Waits()).ask(PROMPT)
    assert len(judge.bodies) == 1


def test_a_time_really_is_waited_for() -> None:
    with judge_server(scripted([Answer(status=429, body="", headers={"Retry-After": "0.3"}), "Well."])) as judge:
        endpoint(judge).ask(PROMPT)
    assert judge.times[1] - judge.times[0] >= 0.3


def test_waiting_ends_when_another_question_failed() -> None:
    halt = threading.Event()
    with judge_server(scripted([Answer(status=429, body="", headers={"Retry-After": "60"})])) as judge:
        threading.Timer(0.1, halt.set).start()
        with pytest.raises(Halted):
            endpoint(judge, halt=halt).ask(PROMPT)


def test_a_silent_judge_is_asked_again_then_given_up() -> None:
    with (
        judge_server(scripted([Answer(delay=0.4)])) as judge,
        pytest.raises(MachineError, match=r"does not answer within 0.1 seconds, 3 times for one prompt"),
    ):
        endpoint(judge, halt=Waits(), timeout=0.1).ask(PROMPT)
    assert len(judge.bodies) == module.BROKEN_TRIES


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize("drip", [0.04, 0.5])
def test_a_judge_that_drips_is_a_silent_one(status: int, drip: float) -> None:
    with (
        judge_server(scripted([Answer(status=status, body="{" * 1000, drip=drip)])) as judge,
        pytest.raises(MachineError, match=r"does not answer within 0.1 seconds, 3 times for one prompt"),
    ):
        endpoint(judge, halt=Waits(), timeout=0.1).ask(PROMPT)


@pytest.mark.parametrize("broken", [Answer(drop=True), Answer(cut=9), Answer(status=522, body="<html>")])
def test_a_connection_that_breaks_is_made_anew(broken: Answer) -> None:
    with judge_server(scripted([broken, "Well."])) as judge:
        assert endpoint(judge, halt=Waits()).ask(PROMPT).text == "Well."


def test_nobody_listens() -> None:
    with judge_server() as judge:
        pass
    with pytest.raises(MachineError, match=r"nothing listens at .*start the judge's server"):
        endpoint(judge, halt=Waits()).ask(PROMPT)


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(MachineError, match="cannot be reached"):
        endpoint("http://no-such-host.invalid/v1").ask(PROMPT)


@pytest.mark.parametrize("body", ["<html>", "{}", '{"choices": []}', '{"choices": [{"message": null}]}', "[1]"])
def test_something_else_than_a_judge_is_told(body: str) -> None:
    with (
        judge_server(scripted([Answer(body=body)])) as judge,
        pytest.raises(MachineError, match="answers what is no chat completion"),
    ):
        endpoint(judge, halt=Waits()).ask(PROMPT)
    assert len(judge.bodies) == module.BROKEN_TRIES


def test_an_empty_answer_is_an_answer() -> None:
    body = '{"choices": [{"message": {"content": null}}], "created": null}'
    with judge_server(scripted([Answer(body=body)])) as judge:
        reply = endpoint(judge).ask(PROMPT)
    assert (reply.text, reply.model, reply.tokens) == ("", None, 0)
    assert reply.created is not None, "the header Date tells when"


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with judge_server() as other:
        moved = Answer(status=307, body="", headers={"Location": f"{other.url}/chat/completions"})
        with judge_server(scripted([moved])) as judge, pytest.raises(UserError, match="answers 307"):
            endpoint(judge, KEY).ask(PROMPT)
    assert not other.bodies


def test_a_key_that_is_sent_back_is_blotted_out() -> None:
    with judge_server(scripted([f"Your key is {KEY}.\nRating: 3"])) as judge:
        assert endpoint(judge, KEY).ask(PROMPT).text == "Your key is ***.\nRating: 3"


@pytest.mark.parametrize(
    ("base", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:9/v1", True),
        ("https://api.example.org/v1", False),
        ("http://10.0.0.7:8000/v1", False),
    ],
)
def test_this_machine_is_known(base: str, local: bool) -> None:
    assert is_local(base) is local


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "Well."}, {"type": "text", "text": " So."}]}, "Well. So."),
        ({"content": [{"type": "thinking", "thinking": "Rating: 10"}, {"type": "text", "text": "Well."}]}, "Well."),
        ({"content": [{"type": "reasoning", "text": "Rating: 10"}]}, ""),
        ({"content": ["Well."]}, "Well."),
        ({"content": [{"type": "output_text", "text": "Well."}]}, "Well."),
        ({"content": []}, ""),
        ({"content": None, "reasoning_content": "Rating: 10"}, ""),
        ({"content": "Well.", "reasoning": "Rating: 10"}, "Well."),
    ],
)
def test_only_the_content_of_a_message_is_its_text(message: dict[str, Any], text: str) -> None:
    with judge_server(scripted([Answer(message=message)])) as judge:
        assert endpoint(judge).ask(PROMPT).text == text


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (Answer(finish="stop"), "stop"),
        (Answer(finish="eos_token"), "stop"),
        (Answer(finish="end_turn"), "stop"),
        (Answer(finish="length"), "length"),
        (Answer(finish="content_filter"), "content_filter"),
        (Answer(finish="tool_calls"), "tool_calls"),
        (Answer(message={"content": None, "refusal": "I cannot.\nRating: 1"}), "refusal"),
        (Answer(message={"content": [{"type": "refusal", "refusal": "No."}]}), "refusal"),
        (Answer(finish=None, usage={"completion_tokens": 8, "total_tokens": 900}), "stop"),
        (Answer(finish=None, usage={"completion_tokens": 9, "total_tokens": 900}), "unknown"),
        (Answer(finish=None, usage={"total_tokens": 8}), "stop"),
        (Answer(finish=None, usage={"total_tokens": 900}), "unknown"),
        (Answer(finish=None, usage=None), "unknown"),
    ],
)
def test_how_a_reply_ended(answer: Answer, finish: str) -> None:
    with judge_server(scripted([answer])) as judge:
        assert endpoint(judge).ask(PROMPT).finish == finish
