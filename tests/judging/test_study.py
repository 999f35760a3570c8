"""A whole study with a judge, through the command line."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from layersig.endpoint import client as endpoint
from tests.e2e.world import Run, World
from tests.judging.server import Answer, Judge, judge_server, sensible
from tests.study import RECIPE, write_lines, write_study

KEY = "sk-secret-0123456789"
HEAD, _, _ = RECIPE.partition("[[arms]]")
CONVERSATIONS = """\
[[arms]]
name = "ila-30"
scorer = "ila"
select = { kind = "top", fraction = 0.30 }
[evaluate]
heldout = false
conversations = ["file:talk.jsonl"]
answers = { max_new_tokens = 6 }
[judge]
endpoint = "ENDPOINT"
model = "judge-7b"
key_env = "JUDGE_KEY"
[analyze]
outcome = "talk"
controls = false
margins = { judge_score = 0.5 }
"""
QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
    {"question_id": 82, "category": "writing", "turns": ["Say.", "More."]},
    {"question_id": 83, "category": "math", "turns": ["1+1?", "Why?"], "reference": ["2", "Because."]},
    {"question_id": 84, "category": "math", "turns": ["2+2?"]},
]
TURNS = 7
GRADES = 3 * TURNS * 2  # base, all-layers and ila-30; two repeats
PAIRS = 2 * TURNS * 2 * 2  # base and ila-30 against all-layers; two repeats, both orders
JUDGED = ("grade", "compare")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("judged")
    world = World(base, write_study(base, recipe=HEAD + CONVERSATIONS))
    write_lines(base / "talk.jsonl", QUESTIONS)
    return world


@pytest.fixture(scope="module")
def judge() -> Judge:
    with judge_server() as judge:
        yield judge


@pytest.fixture(scope="module")
def run(world: World, judge: Judge) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUDGE_KEY", KEY)
        return world.run(f"judge.endpoint={judge.url}").run


def table(run: Run, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((run.path / "analysis.json").read_text())[name]
    return rows


def test_answers_and_verdicts_are_in_the_run(run: Run, judge: Judge) -> None:
    assert len(judge.bodies) == GRADES + PAIRS
    asked = {kind: [each["calls"] for each in run.stages.values() if each["kind"] == kind] for kind in JUDGED}
    assert {kind: sum(calls) for kind, calls in asked.items()} == {"grade": GRADES, "compare": PAIRS}
    assert set(judge.keys) == {f"Bearer {KEY}"}
    answers = run.lines("conversations/ila-30/chats/seed-0/answers.jsonl")
    assert [row["question"] for row in answers] == ["81", "82", "83", "84"]
    assert [len(row["answers"]) for row in answers] == [2, 2, 2, 1]
    grades = run.lines("judgements/base/judgements.jsonl")
    assert len(grades) == 2 * TURNS
    assert {row["model"] for row in grades} == {"judge-7b-2026-09-21"}
    assert {row["created"] for row in grades} == {"2026-09-21T14:13:20+00:00"}
    pairs = run.lines("pairs/ila-30/chats/seed-0/judgements.jsonl")
    assert len(pairs) == 4 * TURNS
    assert {row["order"] for row in pairs} == {"arm-first", "arm-second"}
    assert all(row["prompt"][1]["content"] and row["replies"] for row in [*grades, *pairs])


def test_the_second_turn_follows_the_arms_own_first_answer(run: Run, judge: Judge) -> None:
    for row in run.lines("conversations/all-layers/chats/seed-0/answers.jsonl")[:3]:
        shown = [
            line["prompt"][1]["content"]
            for line in run.lines("judgements/all-layers/chats/seed-0/judgements.jsonl")
            if (line["question"], line["turn"]) == (row["question"], 2)
        ]
        assert all(row["answers"][0] in text and row["answers"][1] in text for text in shown)


def test_the_key_is_in_no_file(run: Run, world: World) -> None:
    files = [path for path in world.base.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_grades_are_an_outcome_like_any_other(run: Run) -> None:
    results = {row["arm"]: row for row in table(run, "results") if row["metric"] == "judge_score"}
    assert results.keys() == {"base", "all-layers", "ila-30"}
    verdicts = [row["verdict"] for row in run.lines("judgements/ila-30/chats/seed-0/judgements.jsonl")]
    assert results["ila-30"]["value"] == pytest.approx(sum(verdicts) / len(verdicts))
    assert (results["ila-30"]["n"], results["ila-30"]["clusters"]) == (TURNS, 4)
    (row,) = [row for row in table(run, "comparisons") if (row["arm"], row["role"]) == ("ila-30", "baseline")]
    assert row["outcome"]
    assert row["declared"]
    assert row["margin"] == 0.5
    assert row["verdict"]


def test_categories_turns_noise_and_pairs_are_told(run: Run) -> None:
    groups = {(row["by"], row["group"]): row for row in table(run, "judged") if row["arm"] == "ila-30"}
    assert groups.keys() == {
        ("all", "all"),
        ("category", "writing"),
        ("category", "math"),
        ("turn", "1"),
        ("turn", "2"),
    }
    assert (groups["category", "math"]["n"], groups["category", "math"]["questions"]) == (3, 2)
    noise = {row["arm"]: row for row in table(run, "judge_noise")}
    assert noise["ila-30"] | {"se": None} == {
        "arm": "ila-30",
        "data": "chats",
        "set": "talk",
        "repeats": 2,
        "agree": 1.0,
        "repeat_sd": 0.0,
        "se_repeats": 0.0,
        "se": None,
    }
    pairs = {(row["arm"], row["by"]): row for row in table(run, "judge_pairs") if row["by"] == "all"}
    lengths = {
        arm: [len(answer) for row in run.lines(f"conversations/{folder}/answers.jsonl") for answer in row["answers"]]
        for arm, folder in (("ila-30", "ila-30/chats/seed-0"), ("all", "all-layers/chats/seed-0"))
    }
    wins = [ours > theirs for ours, theirs in zip(lengths["ila-30"], lengths["all"], strict=True)]
    losses = [ours < theirs for ours, theirs in zip(lengths["ila-30"], lengths["all"], strict=True)]
    assert pairs["ila-30", "all"]["win"] == pytest.approx(sum(wins) / TURNS)
    assert pairs["ila-30", "all"]["loss"] == pytest.approx(sum(losses) / TURNS)
    assert min(row["p"] for row in table(run, "judge_pairs")) >= 2 / 2**4, "four questions cannot give less"
    (overall,) = [row for row in table(run, "judge_positions") if row["arm"] is None]
    assert overall["flips"] == 0
    assert overall["pairs"] == 2 * TURNS * 2
    judges = {row["what"]: row for row in table(run, "judges")}
    assert judges["grades"]["verdicts"] == GRADES
    assert judges["comparisons"]["answered_by"] == ["judge-7b-2026-09-21"]


def test_a_repeat_asks_nothing(run: Run, world: World, judge: Judge) -> None:
    asked = len(judge.bodies)
    for more in ((), ("judge.concurrency=2", "judge.timeout=9")):
        assert world.run(f"judge.endpoint={judge.url}", *more).code == 0
    assert len(judge.bodies) == asked


def messages(body: Mapping[str, Any]) -> str:
    return json.dumps(body["messages"])


def test_a_judge_killed_half_way_ends_the_run_and_is_asked_for_the_rest_alone(
    run: Run, world: World, judge: Judge
) -> None:
    def dying(body: Mapping[str, Any], number: int) -> Answer | str:
        if number > GRADES + 9:
            threading.Thread(target=first.stop).start()
            return Answer(drop=True)
        return sensible(body)

    with judge_server(dying) as first:
        told = world.run(f"judge.endpoint={first.url}")
        port = int(first.url.rpartition(":")[2].partition("/")[0])
    assert told.code == 3
    (error,) = told.errors
    assert error.startswith("error: compare/base/chats/seed-0: ")
    assert "are kept" in error
    with judge_server(port=port) as second:
        again = world.run(f"judge.endpoint={second.url}")
    assert len(second.bodies) == PAIRS - 9
    whole, kept = judge.bodies[: GRADES + PAIRS], first.bodies[: GRADES + 9]
    assert Counter(map(messages, [*kept, *second.bodies])) == Counter(map(messages, whole))
    for name in ("judgements/base", "judgements/ila-30/chats/seed-0", "pairs/base/chats/seed-0"):
        ours, theirs = (each.lines(f"{name}/judgements.jsonl") for each in (run, again.run))
        assert ours == theirs


def test_a_judge_that_takes_the_first_is_exposed(run: Run, world: World) -> None:
    def biased(body: Mapping[str, Any], number: int) -> str:
        pair = "<second_assistant>" in body["messages"][1]["content"]
        return "Verdict: FIRST" if pair else "Rating: 6"

    # Four questions, all alike, could be chance; eight cannot.
    questions = [{"question_id": number, "category": "math", "turns": [f"{number}?"]} for number in range(8)]
    write_lines(world.base / "many.jsonl", questions)
    asked = 'evaluate.conversations=["file:many.jsonl"]', "analyze.outcome=many"
    with judge_server(biased) as judge:
        found = world.run(f"judge.endpoint={judge.url}", "judge.repeats=1", *asked).run
    for row in table(found, "judge_positions"):
        assert (row["flips"], row["first"]) == (1.0, 1.0)
    for row in table(found, "judge_pairs"):
        assert (row["win"], row["tie"], row["loss"], row["value"]) == (0.0, 1.0, 0.0, 0.5)
    report = (found.path / "report.md").read_text()
    assert "The judge prefers the answer that is shown first" in report
    assert "The judge prefers" not in (run.path / "report.md").read_text()


def test_invalid_verdicts_are_told_and_leave_arms_paired(run: Run, world: World) -> None:
    def moody(body: Mapping[str, Any], number: int) -> str:
        text = body["messages"][1]["content"]
        return "No comment." if "turn=2" in text and "1+1?" in text and len(text) % 2 else sensible(body)

    with judge_server(moody) as judge:
        found = world.run(f"judge.endpoint={judge.url}", "judge.attempts=2").run
    rows = table(found, "judges")
    assert sum(row["invalid"] for row in rows) > 0
    assert f"{rows[0]['invalid']} of {GRADES}" in (found.path / "report.md").read_text()
    results = [row for row in table(found, "results") if row["metric"] == "judge_score"]
    assert {row["n"] for row in results} <= {TURNS, TURNS - 1}
    assert len({row["n"] for row in results}) == 1


@pytest.mark.slow
def test_a_judge_that_reasons_and_is_cut(run: Run, world: World) -> None:
    def reasoning(body: Mapping[str, Any], number: int) -> Answer | str:
        if "temperature" in body:
            return Answer(status=400, body='{"error": {"message": "unsupported", "param": "temperature"}}')
        if "2+2?" in body["messages"][1]["content"] and "Be brief." not in body["messages"][-1]["content"]:
            return Answer("<think>\nHow good is it?\nRating: 10\nVerdict: FIRST", finish="length")
        return f"<think>Rating: 10</think>{sensible(body)}"

    with judge_server(reasoning) as judge:
        refused = world.run(f"judge.endpoint={judge.url}", "judge.repeats=1")
        found = world.run(f"judge.endpoint={judge.url}", "judge.repeats=1", 'judge.temperature="default"').run
    assert refused.code == 2
    assert 'set `judge.temperature = "default"`' in refused.errors[0]
    rows = table(found, "judges")
    assert [(row["temperature"], row["invalid"], row["cut"], row["asked_again"]) for row in rows] == [
        ("default", 0, cut, cut) for cut in (3, 4)
    ]
    report = (found.path / "report.md").read_text()
    assert "at its own temperature" in report
    assert "that did not end by themselves" in report
    incidents = {(row["arm"], row["task"]): row["items"] for row in table(found, "incidents")}
    assert incidents["base", "talk"] == TURNS
    assert "Cut, empty and tied" in report


def test_nobody_listens(run: Run, world: World) -> None:
    with judge_server() as gone:
        pass
    told = world.run(f"judge.endpoint={gone.url}")
    assert told.code == 3
    (error,) = told.errors
    assert error.startswith(f"error: grade/base: nothing listens at {gone.url}; start the judge's server")


def test_a_row_that_asks_nothing_is_named(run: Run, world: World) -> None:
    write_lines(world.base / "bad.jsonl", [*QUESTIONS, {"question_id": 85}])
    told = world.run(
        'evaluate.conversations=["file:bad.jsonl"]', "analyze.outcome=bad", "judge.endpoint=http://127.0.0.1:9/v1"
    )
    assert told.code == 2
    assert "\u00b7" not in told.err, "no stage was run"
    assert "1 of 5 rows cannot be used" in told.err
    assert "row 5: `turns` is missing or empty" in told.err


def test_questions_are_sought_in_the_training_data(run: Run) -> None:
    overlap = json.loads((run.path / "overlap" / "chats.json").read_text())
    assert overlap["talk"]["items"] == 4
    assert overlap["talk"]["ngrams"]["8"]["too_short"] == 4
    (row,) = [row for row in table(run, "rigor") if row["item"] == "overlap of training data with benchmarks"]
    assert row["status"] == "met"


def test_runs_with_other_judges_are_not_compared(run: Run, world: World, judge: Judge) -> None:
    with judge_server(lambda body, number: "Rating: 6") as second:
        more = ("judge.model=other", "judge.pairwise=false")
        other = world.run(f"judge.endpoint={second.url}", *more).run
    told = world.call("compare", f"{run.path}:ila-30", f"{other.path}:ila-30")
    assert told.code == 2
    assert "they differ in judge" in told.err


def test_a_missing_key_ends_the_run_with_one_sentence(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    with judge_server() as judge:
        told = world.run(f"judge.endpoint={judge.url}")
    assert told.code == 2
    assert told.errors == [
        "error: grade/base: judge.key_env: the environment variable JUDGE_KEY is not set; set it to the judge's key"
    ]
    assert not judge.bodies


def test_without_an_endpoint_questions_are_left_out_and_asked_once_there_is_one(
    world: World, run: Run, judge: Judge
) -> None:
    text = world.recipe.read_text().replace('endpoint = "ENDPOINT"\nmodel = "judge-7b"\n', "")
    recipe = world.base / "later.toml"
    recipe.write_text(
        text.replace("heldout = false", "heldout = true").replace('outcome = "talk"', 'outcome = "heldout"')
    )
    how = "judge.endpoint=URL judge.model=ID"
    for verb in ("plan", "validate"):
        told = world.call(verb, recipe)
        assert told.code == 0
        assert "talk: not asked" in told.err
        assert how in told.err
    told = world.call("run", recipe, "--runs", world.base / "later")
    assert told.code == 0
    assert how in told.err
    (path,) = (world.base / "later").glob("*/*/manifest.json")
    without = Run(path.parent)
    assert not {"conversations", "judgements"} & {name.partition("/")[0] for name in without.files()}
    assert how in without.manifest["skipped"][0]
    for report in ("report.md", "report.html"):
        shown = (without.path / report).read_text()
        assert "Not measured" in shown
        assert how in shown
    told = world.call(
        "run", recipe, f"judge.endpoint={judge.url}", "judge.model=judge-7b", "--runs", world.base / "later"
    )
    assert told.code == 0
    assert how not in told.err
    (asked,) = (
        Run(each.parent) for each in (world.base / "later").glob("*/*/manifest.json") if each.parent != without.path
    )
    assert "judgements/ila-30/chats/seed-0/results.json" in asked.files()
    assert "skipped" not in asked.manifest
    added = {stage["kind"] for name, stage in asked.stages.items() if name in asked.ran}
    assert added <= {"answer", "grade", "compare", "overlap"}
