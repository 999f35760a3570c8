from __future__ import annotations

import _thread
import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from layersig.endpoint import client as endpoint
from layersig.errors import MachineError, UserError
from layersig.judging.prompts import COMPARE_AGAIN, GRADE_AGAIN
from layersig.judging.stages import compare, grade
from tests.judging.server import Answer, judge_server, scripted, sensible
from tests.judging.world import answered, job_of, judged

ARM = [answered("1", "aa", "bbb"), answered("2", "c", "dd", category="writing"), answered("3", "e", set="other")]
BASELINE = [answered("1", "a", "bbb"), answered("2", "cc", "d", category="writing"), answered("3", "f", set="other")]
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)


def test_every_turn_is_graded_as_often_as_asked_and_averaged(tmp_path: Path) -> None:
    lock, grades = threading.Lock(), {}

    def two_minds(body: Mapping[str, Any], number: int) -> str:
        with lock:
            text = body["messages"][1]["content"]
            grades[text] = grades.get(text, 3) + 2
            return f"Rating: {grades[text]}"

    with judge_server(two_minds) as judge:
        job = job_of(tmp_path, judge, {"answers": ARM})
        grade(job)
    found = judged(job)
    assert len(judge.bodies) == len(found) == 5 * 2
    assert [each.key[:4] for each in found] == [
        (name, question, turn, repeat)
        for name, question, turn in (
            ("talk", "1", 1),
            ("talk", "1", 2),
            ("talk", "2", 1),
            ("talk", "2", 2),
            ("other", "3", 1),
        )
        for repeat in (0, 1)
    ]
    assert {each.verdict for each in found} == {5.0, 7.0}
    items = [json.loads(line) for line in (job.out / "items.jsonl").read_text().splitlines()]
    assert items[0] == {"task": "talk", "item": "1/turn-1", "metric": "judge_score", "value": 6.0, "cluster": "1"}
    assert items[-1] == {"task": "other", "item": "3", "metric": "judge_score", "value": 6.0}
    assert len(items) == 5
    assert job.cost["tokens"] == 110.0


def test_the_judge_sees_the_turns_before_and_no_later_ones(tmp_path: Path) -> None:
    rows = [answered("1", "first answer", "second answer", reference=("right one", "right two"))]
    with judge_server() as judge:
        job = job_of(tmp_path, judge, {"answers": rows}, repeats=1)
        grade(job)
    first, second = (each.prompt[1]["content"] for each in judged(job))
    assert "first answer" in first
    assert "right one" in first
    assert "second answer" not in first
    assert "right two" not in first
    assert "turn 2?" not in first
    assert second.index("right two") < second.index("first answer") < second.index("turn 2?")
    assert second.endswith("Judge the answer to user turn 2 alone.")


def test_pairs_are_shown_in_both_orders(tmp_path: Path) -> None:
    with judge_server() as judge:
        job = job_of(tmp_path, judge, {"answers": ARM, "reference": BASELINE}, repeats=1)
        compare(job)
    found = {(each.key.question, each.key.turn, each.key.order): each for each in judged(job)}
    assert len(found) == len(judge.bodies) == 10
    assert found["1", 1, "arm-first"].verdict == "first"
    assert found["1", 1, "arm-second"].verdict == "second"
    assert found["1", 2, "arm-first"].verdict == found["1", 2, "arm-second"].verdict == "tie"
    assert found["2", 1, "arm-first"].verdict == "second"
    assert found["2", 1, "arm-second"].verdict == "first"
    one, two = (found["1", 1, order].prompt[1]["content"] for order in ("arm-first", "arm-second"))
    assert one.index("\naa\n") < one.index("\na\n")
    assert two.index("\na\n") < two.index("\naa\n")
    assert one.partition("<first_assistant>")[0] == two.partition("<first_assistant>")[0]


def test_nonsense_is_asked_again_with_a_reminder_then_counted(tmp_path: Path) -> None:
    with judge_server(scripted(["Lovely weather.", "Rating: eleven", "Hm. Rating: 4"])) as judge:
        job = job_of(tmp_path, judge, {"answers": [answered("1", "a")]}, repeats=1)
        grade(job)
    (found,) = judged(job)
    assert (found.verdict, found.replies) == (4.0, ("Lovely weather.", "Rating: eleven", "Hm. Rating: 4"))
    assert [message["role"] for message in judge.bodies[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert judge.bodies[2]["messages"][2:] == [
        {"role": "assistant", "content": "Rating: eleven"},
        {"role": "user", "content": GRADE_AGAIN},
    ]

    with judge_server(scripted(["Nonsense."])) as judge:
        job = job_of(tmp_path / "two", judge, {"answers": ARM, "reference": BASELINE}, repeats=1, attempts=2)
        compare(job)
    assert all(each.verdict is None and each.replies == ("Nonsense.", "Nonsense.") for each in judged(job))
    assert len(judge.bodies) == 20
    assert judge.prompts.count(COMPARE_AGAIN) == 10
    assert job.reporter.warnings == ["10 of 10 verdicts are invalid; the report counts them"]  # type: ignore[attr-defined]


def test_an_invalid_verdict_leaves_the_mean_to_the_others_and_is_never_asked_for_again(tmp_path: Path) -> None:
    with judge_server(scripted(["Rating: 2", "No."])) as judge:
        job = job_of(tmp_path, judge, {"answers": [answered("1", "a")]}, concurrency=1)
        grade(job)
        assert [each.verdict for each in judged(job)] == [2.0, None]
        assert '"value":2.0' in (job.out / "items.jsonl").read_text()
        asked = len(judge.bodies)
        grade(job)
        assert len(judge.bodies) == asked


def test_a_judge_killed_half_way_is_asked_only_for_the_rest(tmp_path: Path) -> None:
    rows = [answered(str(number), "a" * number, "b") for number in range(1, 13)]
    with judge_server() as whole:
        job = job_of(tmp_path / "whole", whole, {"answers": rows})
        grade(job)
    unbroken = [(each.key, each.verdict, each.prompt) for each in judged(job)]

    def dying(body: Mapping[str, Any], number: int) -> Answer | str:
        if number > 20:
            threading.Thread(target=first.stop).start()
            return Answer(drop=True)
        return sensible(body)

    with judge_server(dying) as first:
        job = job_of(tmp_path / "broken", first, {"answers": rows})
        with pytest.raises(MachineError, match=r"nothing listens|breaks off"):
            grade(job)
        port = int(first.url.rpartition(":")[2].partition("/")[0])
    held = (job.work / "judgements.jsonl").read_text()
    assert held.count("\n") == 20
    assert not list(job.out.iterdir())

    with judge_server(port=port) as second:
        assert second.url == first.url
        grade(job)
    assert len(second.bodies) == 48 - 20, "no stored verdict is asked for again"
    assert (job.work / "judgements.jsonl").read_text().startswith(held), "the store only grows"
    assert [(each.key, each.verdict, each.prompt) for each in judged(job)] == unbroken


def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    def interrupting(body: Mapping[str, Any], number: int) -> str:
        if number == 6:
            _thread.interrupt_main()
        return sensible(body)

    rows = [answered(str(number), "a") for number in range(40)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with judge_server(interrupting) as judge:
            job = job_of(tmp_path, judge, {"answers": rows}, repeats=1)
            with pytest.raises(KeyboardInterrupt):
                grade(job)
            held = (job.work / "judgements.jsonl").read_text().count("\n")
            assert held == len(judge.bodies) < 40
            grade(job)
            assert len(judge.bodies) == 40
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_line_cut_off_by_a_crash_is_asked_for_again(tmp_path: Path) -> None:
    with judge_server() as judge:
        job = job_of(tmp_path, judge, {"answers": ARM})
        grade(job)
        store = job.work / "judgements.jsonl"
        whole = store.read_bytes()
        store.write_bytes(whole[:-9])
        grade(job)
    assert len(judge.bodies) == 11
    assert store.read_bytes().count(b"\n") == 10
    assert all(json.loads(line) for line in store.read_text().splitlines())


def test_one_refused_prompt_is_invalid_all_refused_stop_the_stage(tmp_path: Path) -> None:
    def choosy(body: Mapping[str, Any], number: int) -> Answer | str:
        long = "question 1, turn 2" in body["messages"][1]["content"]
        return Answer(status=400, body='{"error": {"message": "too long"}}') if long else sensible(body)

    with judge_server(choosy) as judge:
        job = job_of(tmp_path, judge, {"answers": ARM})
        grade(job)
        (one, two) = (each for each in judged(job) if each.verdict is None)
        assert one.refused == two.refused == "400: too long"
        assert "2 of them because the endpoint refused the prompt" in job.reporter.warnings[0]  # type: ignore[attr-defined]
        grade(job)
        assert len(judge.bodies) == 12, "refused prompts are tried again, nothing else"

    with judge_server(scripted([Answer(status=400, body='{"error": {"message": "no such parameter"}}')])) as judge:
        job = job_of(tmp_path / "all", judge, {"answers": ARM})
        with pytest.raises(UserError, match=r"refuses every prompt \(400: no such parameter\); correct \[judge\]"):
            grade(job)


def test_the_key_is_sent_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    echo = scripted([f"You sent {KEY}.", f"{KEY} Rating: 3"])
    with judge_server(echo) as judge:
        job = job_of(tmp_path, judge, {"answers": ARM}, key_env="JUDGE_KEY")
        grade(job)
    assert set(judge.keys) == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert not [path for path in files if KEY in path.read_text()]


@pytest.mark.parametrize(("value", "words"), [(None, "is not set"), (" ", "is not set"), ("a b", "white space")])
def test_a_missing_or_odd_key_stops_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, words: str
) -> None:
    if value is None:
        monkeypatch.delenv("JUDGE_KEY", raising=False)
    else:
        monkeypatch.setenv("JUDGE_KEY", value)
    with (
        judge_server() as judge,
        pytest.raises(UserError, match=rf"judge.key_env: .*JUDGE_KEY.*{words}|JUDGE_KEY.*{words}"),
    ):
        grade(job_of(tmp_path, judge, {"answers": ARM}, key_env="JUDGE_KEY"))
    assert not judge.bodies


def test_a_refused_key_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    rows = [answered(str(number), "a") for number in range(50)]
    with (
        judge_server(scripted([Answer(status=401, body="")])) as judge,
        pytest.raises(UserError, match="JUDGE_KEY"),
    ):
        grade(job_of(tmp_path, judge, {"answers": rows}, key_env="JUDGE_KEY"))
    assert len(judge.bodies) < 20


def test_the_result_does_not_hang_on_the_order_of_arrival(tmp_path: Path) -> None:
    def late(body: Mapping[str, Any], number: int) -> Answer:
        return Answer(sensible(body), delay=0.03 if number % 3 == 0 else 0.0)

    outputs = []
    for name, concurrency, behaviour in (("one", 1, sensible), ("many", 5, late)):
        with judge_server(behaviour) as judge:
            job = job_of(tmp_path / name, judge, {"answers": ARM}, concurrency=concurrency)
            grade(job)
        outputs.append([(job.out / file).read_text() for file in ("judgements.jsonl", "items.jsonl")])
    assert outputs[0] == outputs[1]


UNREAD = [
    Answer("<think>\nHow good? Say,\nRating: 10", finish="length"),
    Answer("It is good.\nRating: 1", finish="length"),  # of "Rating: 10"
    Answer("<think>\nHow good?\nRating: 10"),
    Answer("It prints\n```\nRating: 10\n```"),
    Answer("Rating: 10\nas the answer wants."),
    Answer(message={"content": None, "reasoning_content": "Rating: 10"}),
    Answer(message={"content": None, "refusal": "Rating: 10"}),
    Answer("Rating: 10", finish="content_filter"),
    Answer("Rating: 10", finish=None, usage=None),
]


@pytest.mark.parametrize("answer", UNREAD)
def test_a_grade_is_read_from_the_closing_line_of_a_reply_that_ended_by_itself(tmp_path: Path, answer: Answer) -> None:
    with judge_server(scripted([answer, "Weak.\nRating: 2"])) as judge:
        grade(job_of(tmp_path / "again", judge, {"answers": [answered("1", "a")]}, repeats=1))
        (found,) = judged(job_of(tmp_path / "again", judge, {}))
    assert (found.verdict, len(found.replies), len(judge.bodies)) == (2.0, 2, 2)
    assert found.finish[1] == "stop"
    assert judge.bodies[1]["messages"][-1]["content"].endswith(GRADE_AGAIN)
    roles = [message["role"] for message in judge.bodies[1]["messages"]]
    assert roles in (["system", "user"], ["system", "user", "assistant", "user"])

    with judge_server(scripted([answer])) as judge:
        job = job_of(tmp_path / "never", judge, {"answers": [answered("1", "a"), answered("2", "b")]}, repeats=1)
        grade(job)
    assert [each.verdict for each in judged(job)] == [None, None]
    assert (job.out / "items.jsonl").read_text() == ""
    results = json.loads((job.out / "results.json").read_text())
    assert (results["invalid"], sum(results["finish"].values())) == (2, 6)


@pytest.mark.parametrize("text", ["<think>\nVerdict: FIRST", "The first.\nVerdict: FIRST"])
def test_a_pair_is_read_from_a_reply_that_ended_by_itself(tmp_path: Path, text: str) -> None:
    with judge_server(scripted([Answer(text, finish="length")])) as judge:
        job = job_of(tmp_path, judge, {"answers": ARM, "reference": BASELINE}, repeats=1, attempts=2)
        compare(job)
    assert {each.verdict for each in judged(job)} == {None}
    assert {each.finish for each in judged(job)} == {("length", "length")}
    warnings = job.reporter.warnings  # type: ignore[attr-defined]
    assert "20 of 20 replies of the judge did not end by themselves (length 20)" in warnings[0]
    assert "judge.max_tokens (64)" in warnings[0]


def test_thoughts_are_not_sent_back(tmp_path: Path) -> None:
    with judge_server(scripted(["<think>deep thoughts</think>Hm.", "Rating: 3"])) as judge:
        grade(job_of(tmp_path, judge, {"answers": [answered("1", "a")]}, repeats=1))
    assert judge.bodies[1]["messages"][2] == {"role": "assistant", "content": "Hm."}


def test_a_judge_without_a_temperature(tmp_path: Path) -> None:
    def reasons(body: Mapping[str, Any], number: int) -> Answer | str:
        wrong = "Unsupported parameter: 'temperature' is not supported with this model."
        error = {"error": {"message": wrong, "param": "temperature", "code": "unsupported_parameter"}}
        return Answer(status=400, body=json.dumps(error)) if "temperature" in body else sensible(body)

    with judge_server(reasons) as judge:
        with pytest.raises(UserError, match=r"refuses `temperature` .*set `judge.temperature = \"default\"`"):
            grade(job_of(tmp_path / "zero", judge, {"answers": ARM}))
        job = job_of(tmp_path / "none", judge, {"answers": ARM}, temperature="default")
        grade(job)
    assert all(each.verdict is not None for each in judged(job))
    assert json.loads((job.out / "results.json").read_text())["judge"]["temperature"] == "default"
