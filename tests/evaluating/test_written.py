"""Tasks in which the model writes: scores, responses, programs, floors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layersig.errors import MachineError, UserError
from layersig.evaluating import definitions
from layersig.evaluating.items import floor_outcomes, score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.metrics import ProgramFilter, math_answer, passes, rouge_l
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.stage import evaluate
from layersig.evaluating.tasks import resolve_task
from layersig.jsonform import read_jsonl
from layersig.recipe.schema import TaskSettings
from layersig.records import Cell
from layersig.sandbox import refusal
from layersig.sources.source import Request
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer

confined = pytest.mark.skipif(refusal() is not None, reason=str(refusal()))

ADD = {
    "task_id": "T/0",
    "prompt": 'def add(a, b):\n    """Add."""\n',
    "entry_point": "add",
    "test": "def check(f):\n    assert f(1, 2) == 3\n    assert f(-1, 1) == 0",
    "canonical_solution": "    return a + b\n",
}
WORDS = {
    "task_id": "T/1",
    "prompt": "def words(text):\n",
    "entry_point": "words",
    "test": "def check(f):\n    assert f('a b') == 2",
    "canonical_solution": "    return len(text.split())\n",
}


class Scripted(SharedPrefixLM):
    """A model that writes what it is told to, by a text in the question."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(tiny_model("llama"), tiny_tokenizer())
        self.answers = answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        def said(prompt: str) -> str:
            return self.answers[max(self.answers, key=prompt.rfind)]

        return [said(request.args[0]) for request in requests]


def rows(folder: Path, *lines: dict[str, Any]) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "file:rows.jsonl"


def load(
    folder: Path, name: str, *lines: dict[str, Any], same_items: tuple[tuple[str, str], ...] = (), **options: Any
) -> ResolvedTask:
    request = Request(base_dir=folder, cache=folder / "cache", offline=True)
    source = resolve_task(name, None, request, data=rows(folder, *lines))
    return load_task(TaskSettings(source=name, **options), source.path, Streams(0), same_items)


def test_math_answers() -> None:
    assert math_answer(["18"], [r"so it is \boxed{18.0}"]) == 1
    assert math_answer(["work\n#### 1,000"], ["The answer is $1000."]) == 1
    assert math_answer([r"then \boxed{\frac12}"], ["0.5"]) == 1
    assert math_answer(["18"], ["The answer is 17."]) == 0
    assert math_answer(["18"], [""]) == 0


def test_rouge_by_hand() -> None:
    # LCS of "the cat sat" and "the cat is sitting": the cat = 2; P = 2/4, R = 2/3 -> F = 4/7.
    assert rouge_l(["The cat sat"], ["the cat is sitting"]) == pytest.approx(4 / 7)
    assert rouge_l(["cats"], ["Cat."]) == 1
    assert rouge_l(["something"], [""]) == 0


@confined
def test_a_program_passes_when_its_tests_do() -> None:
    tests = f"{ADD['test']}\ncheck(add)"
    assert passes([tests], [ADD["prompt"] + ADD["canonical_solution"]]) == 1
    assert passes([tests], [ADD["prompt"] + "    return a - b\n"]) == 0
    assert passes([tests], ["import sys\nsys.exit(0)"]) == 0


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("    return a + b\n", "P    return a + b\n"),
        ("    return a + b\n```\nThat is it: ```x```", "P    return a + b\n"),
        ("```python\ndef add(a, b):\n    return a + b\n```", "Pdef add(a, b):\n    return a + b\n"),
        ("```python\ndef add(a, b):\n    return a + b\n", "Pdef add(a, b):\n    return a + b\n"),
        ("    return a + b```\nThat is it.", "P    return a + b"),
        ("```python\ndef add(a, b):\n    return a + b``` That is it.", "Pdef add(a, b):\n    return a + b"),
        ("```\n", "P"),
        ("", "P"),
    ],
)
def test_programs_behind_what_the_prompt_began(response: str, program: str) -> None:
    assert ProgramFilter("prompt", opened=True).apply([[response]], [{"prompt": "P"}]) == [[program]]


PROBLEM = {"problem": "Where is it?", "answer": "[1,2]", "solution": r"\boxed{[1,2]}"}


def test_a_list_as_a_result_is_one_target(tmp_path: Path) -> None:
    """lm-eval makes a list of a template's text that looks like one, of which each part would then be right."""
    task = load(tmp_path, "math500", PROBLEM, PROBLEM | {"problem": "Why?"})
    scored = score_task(task, Scripted({"Where": r"\boxed{[1,2]}", "Why": r"\boxed{1}"}))
    assert [outcome.value for outcome in scored.outcomes] == [1.0, 0.0]
    assert [line["target"] for line in scored.responses] == ["[1,2]"] * 2


def test_rows_without_the_result_are_refused(tmp_path: Path) -> None:
    lacking = {name: value for name, value in PROBLEM.items() if name != "answer"}
    with pytest.raises(UserError, match="task math500: doc_to_target: the rows have problem, solution and no field"):
        load(tmp_path, "math500", lacking)


@confined
def test_code_tasks_of_lm_eval_run_confined(tmp_path: Path) -> None:
    task = load(tmp_path, "humaneval_plus", ADD, WORDS)
    model = Scripted({"def add": "    return a + b\n", "def words": "    return len(text.split(\n"})
    scored = score_task(task, model, allow_code=True)
    assert [(outcome.metric, outcome.value) for outcome in scored.outcomes] == [("passes", 1.0), ("passes", 0.0)]
    assert scored.summary["humaneval_plus"]["passes"] == 0.5
    assert scored.summary["humaneval_plus"]["format"] == "generation"
    first, second = scored.responses
    assert first["item"] == scored.outcomes[0].item
    assert first["question"] == ADD["prompt"]
    assert first["response"] == "    return a + b\n"
    assert (first["code"]["error"], first["scores"]) == ("none", {"passes": 1.0})
    assert (second["code"]["error"], second["code"]["paper_error"]) == ("bracket", "bracket/syntax")
    assert second["code"]["exception"] == "SyntaxError"
    assert floor_outcomes(task, model, scored) == ()
    assert task.parts[0].config.generation_kwargs["until"][0] == "\nclass"


@confined
def test_mbpp_plus_keeps_lm_evals_prompt_and_tests(tmp_path: Path) -> None:
    tests = ["assert add(1, 2) == 3", "assert math.isclose(add(1, 2), 3)", "assert add(0, 0) == 0"]
    row = {"task_id": 2, "prompt": "Write add.", "code": "", "test_list": tests, "test_imports": ["import math"]}
    task = load(tmp_path, "mbpp_plus", row)
    scored = score_task(task, Scripted({"Write add": "def add(a, b):\n    return a + b\n"}), allow_code=True)
    assert [outcome.value for outcome in scored.outcomes] == [1.0]
    [part] = task.parts
    prompt = part.instances[0].args[0]
    assert prompt.count("[BEGIN]") == 4
    assert prompt.endswith("[BEGIN]\n")
    assert "def similar_elements" in prompt


@pytest.mark.parametrize(
    "name",
    ["humaneval", "humaneval_instruct", "humaneval_plus_instruct", "mbpp", "mbpp_instruct", "mbpp_plus_instruct"],
)
def test_no_code_task_of_lm_eval_is_left_unconfined(name: str) -> None:
    [config] = definitions.named(name)
    assert [entry["metric"] for entry in config["metric_list"]] == ["passes"]
    assert "unsafe_code" not in config


def test_mathematics_and_summaries(tmp_path: Path) -> None:
    lines = [{"problem": f"What is {n} + {n}?", "solution": "", "answer": str(2 * n)} for n in (3, 4)]
    task = load(tmp_path, "math500", *lines)
    scored = score_task(task, Scripted({"3 + 3": r"It is \boxed{6}.", "4 + 4": r"It is \boxed{9}."}))
    assert [outcome.value for outcome in scored.outcomes] == [1.0, 0.0]
    assert [line["probes"]["words"] for line in scored.responses] == [8.0, 8.0]  # It is \\ boxed { 6 } .
    articles = [{"id": str(n), "document": f"Article {n}. The cat sat.", "summary": "The cat sat"} for n in (1, 2)]
    articles[1]["document"] = "The cat sat. Article 2."
    summaries = score_task(
        load(tmp_path, "xsum", *articles), Scripted({"Article 1": " The cat sat", "Article 2": " Dogs ran"})
    )
    assert [outcome.value for outcome in summaries.outcomes] == [1.0, 0.0]
    assert summaries.summary["xsum"]["lead"] == 0.5  # "Article 1." and "The cat sat."


def test_gsm8k_from_a_file_of_ones_own(tmp_path: Path) -> None:
    lines = [{"question": f"What is {n} + 1?", "answer": f"{n}+1\n#### {n + 1}"} for n in (1, 2, 3)]
    task = load(tmp_path, "gsm8k", *lines, shots=0)
    model = Scripted({"What is 1": " 2\n#### 2", "What is 2": " three, so 3", "What is 3": " #### 5"})
    scored = score_task(task, model)
    by_metric = {
        metric: [outcome.value for outcome in scored.outcomes if outcome.metric == metric]
        for metric in ("exact_match,strict-match", "exact_match,flexible-extract")
    }
    assert by_metric == {"exact_match,strict-match": [1, 0, 0], "exact_match,flexible-extract": [1, 1, 0]}
    assert len(scored.responses) == 3
    assert set(scored.responses[0]["scores"]) == set(by_metric)
    # Scored with the answer of the next question: 3 for 2, 5 for 3, 2 for 4.
    floor = floor_outcomes(task, model, scored)
    assert [outcome.value for outcome in floor] == [0.0] * 6
    assert {outcome.item for outcome in floor} == {outcome.item for outcome in scored.outcomes}


def test_the_floor_of_choices_has_the_question_of_another_item(tmp_path: Path) -> None:
    lines = [
        {
            "id": str(n),
            "question": f"Q{n}",
            "choices": {"text": [f"a{n}", f"b{n}"], "label": ["A", "B"]},
            "answerKey": "B",
        }
        for n in range(4)
    ]
    task = load(tmp_path, "arc_easy", *lines)
    [part] = task.parts
    part.build_all_requests()
    plain = [request.args for request in part.instances]
    part.exchange = [1, 2, 3, 0]
    part.build_all_requests()
    shuffled = [request.args for request in part.instances]
    part.exchange = None
    assert plain[0] == ("Question: Q0\nAnswer:", " a0")
    assert shuffled[0] == ("Question: Q1\nAnswer:", " a0")
    assert shuffled[-1] == ("Question: Q0\nAnswer:", " b3")
    model = SharedPrefixLM(tiny_model("llama"), tiny_tokenizer())
    scored = score_task(task, model)
    floor = floor_outcomes(task, model, scored)
    assert [(each.task, each.item, each.metric) for each in floor] == [
        (each.task, each.item, each.metric) for each in scored.outcomes
    ]
    assert score_task(task, model) == scored


def test_files_of_rows_that_are_not_there(tmp_path: Path) -> None:
    request = Request(base_dir=tmp_path, cache=tmp_path / "cache", offline=True)
    with pytest.raises(UserError, match=r"none\.jsonl: no such file of rows for the task gsm8k"):
        resolve_task("gsm8k", None, request, data="file:none.jsonl")
    with pytest.raises(UserError, match="says itself where its rows are"):
        resolve_task("pypi:arc_easy", None, request, data="file:none.jsonl")


def stage_job(folder: Path, **params: Any) -> Job:
    request = Request(base_dir=folder, cache=folder / "cache", offline=True)
    source = resolve_task("humaneval", None, request, data=rows(folder, ADD, WORDS))
    (folder / "out").mkdir()
    settings = {
        "tasks": [{"source": "humaneval"}],
        "batch_tokens": 4096,
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
        **params,
    }
    roles = {"model": save_tiny(folder / "model"), "task/0": source.path}
    return Job(Cell(arm="base"), Evaluate.of(**settings), roles, folder / "out", folder, Streams(0))


def test_the_stage_runs_no_code_unasked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs programs that the model writes; allow it with `allow_code_execution"):
        evaluate(stage_job(tmp_path))


def test_the_stage_runs_no_code_where_it_cannot_be_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layersig.evaluating.items.refusal", lambda: "no Landlock here")
    with pytest.raises(MachineError, match="the task humaneval cannot be scored here: no Landlock here"):
        evaluate(stage_job(tmp_path, allow_code_execution=True))


@confined
def test_the_stage_keeps_responses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layersig.evaluating.own._CODE", {"humaneval": ("humaneval", {"function": "program"})})
    monkeypatch.setattr(SharedPrefixLM, "generate_until", lambda self, requests, **_: ["x = (", "1 / 0"])
    job = stage_job(tmp_path, allow_code_execution=True)
    evaluate(job)
    found = list(read_jsonl(job.out / "responses.jsonl"))
    assert [line["code"]["error"] for line in found] == ["bracket", "other"]
    assert [line["code"]["exception"] for line in found] == ["SyntaxError", "ZeroDivisionError"]
    assert not (job.out / "floors.jsonl").exists()


def test_a_task_may_ask_in_chats(tmp_path: Path) -> None:
    task = load(tmp_path, "humaneval_instruct", ADD, chat=True)
    model = Scripted({"def add": "    return a + b\n```"})
    [part] = task.parts
    part.build_all_requests(chat_template=model.apply_chat_template)
    prompt = part.instances[0].args[0]
    # The template of the tiny tokenizer, and the beginning of the answer that the task gives.
    assert prompt.startswith("<s>user\nWrite a solution to the following problem")
    assert prompt.endswith(f"</s>\n<s>assistant\nHere is the completed function:\n```python\n{ADD['prompt']}\n")
    assert model.tok_encode(prompt)[:2] != [1, 1]
    lines = [{"question": f"What is {n}?", "answer": f"#### {n}"} for n in (1, 2)]
    asked = load(tmp_path, "gsm8k", *lines, shots=1, chat=True)
    scored = score_task(asked, Scripted({"What is 1": "1", "What is 2": "2"}))
    assert scored.summary["gsm8k"]["chat"] is True
    shown = asked.parts[0].instances[0].args[0]
    assert shown.count("<s>user\n") == 2
    assert shown.count("<s>assistant\n#### 2</s>\n") == 1
    assert shown.endswith("Question: What is 1?\nAnswer:</s>\n<s>assistant\n")
    plain = score_task(load(tmp_path, "gsm8k", *lines, shots=0), Scripted({"What": "1"}))
    assert "chat" not in plain.summary["gsm8k"]
