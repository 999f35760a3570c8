"""A few rows for every task that the large recipes name, in the tasks' own fields, and a model that solves some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from datasets import Dataset
from lm_eval.api.instance import Instance

from layersig.evaluating.model import SharedPrefixLM

SPLITS = ("train", "dev", "validation", "test")
ROWS = 12
LETTERS = ["A", "B", "C", "D"]

Row = dict[str, Any]


def _choice(number: int, name: str) -> Row:
    return {
        "id": f"{name}-{number}",
        "question": f"which of {number} {name}?",
        "choices": {"text": [f"{letter} {number}" for letter in LETTERS], "label": LETTERS},
        "answerKey": LETTERS[number % 4],
    }


def _mmlu(number: int, subject: str) -> Row:
    return {
        "question": f"what is {number} in {subject}?",
        "subject": subject,
        "choices": [f"{letter} {number}" for letter in LETTERS],
        "answer": number % 4,
    }


def _hellaswag(number: int, name: str) -> Row:
    return {
        "ind": number,
        "activity_label": "Cooking",
        "ctx_a": f"Someone cooks {number}.",
        "ctx_b": "they",
        "ctx": f"Someone cooks {number}. they",
        "endings": [f"eat {letter}" for letter in LETTERS],
        "source_id": f"s{number // 2}",
        "label": str(number % 4),
    }


def _winogrande(number: int, name: str) -> Row:
    options = {"option1": f"Ann{number // 2}", "option2": f"Bo{number // 2}"}
    return {"sentence": f"{number} of _ is old.", **options, "answer": str(number % 2 + 1)}


def _piqa(number: int, name: str) -> Row:
    return {"goal": f"open box {number}", "sol1": "pull", "sol2": "push", "label": number % 2}


def _openbookqa(number: int, name: str) -> Row:
    choices = {"text": [f"{letter} {number}" for letter in LETTERS], "label": LETTERS}
    return {
        "id": str(number),
        "question_stem": f"fact {number} is",
        "choices": choices,
        "answerKey": LETTERS[number % 4],
    }


def _gsm8k(number: int, name: str) -> Row:
    return {"question": f"What is {number} + 1?", "answer": f"It is one more.\n#### {number + 1}"}


def _humaneval(number: int, name: str) -> Row:
    return {
        "task_id": f"H/{number}",
        "prompt": f'def add{number}(a, b):\n    """Add."""\n',
        "entry_point": f"add{number}",
        "test": "def check(f):\n    assert f(1, 2) == 3",
        "canonical_solution": "    return a + b\n",
    }


def _mbpp(number: int, name: str) -> Row:
    tests = [f"assert add{number}(1, 2) == 3", f"assert add{number}(0, 0) == 0", "assert True"]
    return {"task_id": number, "prompt": f"Write add{number}.", "code": "", "test_list": tests, "test_imports": []}


def _xsum(number: int, name: str) -> Row:
    return {"id": str(number), "document": f"Event {number} took place. It rained.", "summary": f"Event {number}"}


def _arithmetic(number: int, name: str) -> Row:
    expression = f"({number + 2} + {number}) * 3"
    return {"context": f"\n\nQ: What is {expression}?\n\nA:", "completion": f" {eval(expression)}"}


def _math(number: int, name: str) -> Row:
    return {"problem": f"What is {number} + {number}?", "answer": str(2 * number), "unique_id": str(number)}


def _aime(number: int, name: str) -> Row:
    return {"Problem": f"What is {number} times 3?", "Answer": 3 * number, "ID": str(number)}


MAKERS: Mapping[str, Callable[[int, str], Row]] = {
    "cais/mmlu": _mmlu,
    "allenai/ai2_arc": _choice,
    "Rowan/hellaswag": _hellaswag,
    "allenai/winogrande": _winogrande,
    "baber/piqa": _piqa,
    "allenai/openbookqa": _openbookqa,
    "openai/gsm8k": _gsm8k,
    "evalplus/humanevalplus": _humaneval,
    "evalplus/mbppplus": _mbpp,
    "EdinburghNLP/xsum": _xsum,
    "EleutherAI/arithmetic": _arithmetic,
    "HuggingFaceH4/MATH-500": _math,
    "Maxwell-Jia/AIME_2024": _aime,
}
"""By the data set that the task's definition names."""


def hub_splits(config: Mapping[str, Any]) -> dict[str, Dataset]:
    """In the place of `layersig.evaluating.rows.hub_splits`: every split has rows of its own."""
    make, name = MAKERS[config["dataset_path"]], str(config.get("dataset_name") or config["task"])
    return {
        split: Dataset.from_list([make(100 * place + number, name) for number in range(ROWS)])
        for place, split in enumerate(SPLITS)
    }


def _answers() -> dict[str, str]:
    """What solves an item, by a text of its question."""
    found: dict[str, str] = {}
    for number in (100 * place + number for place in range(len(SPLITS)) for number in range(ROWS)):
        found[f"What is {number} + 1?"] = f"#### {number + 1}"
        found[f"What is {number} + {number}?"] = f"\\boxed{{{2 * number}}}"
        found[f"What is {number} times 3?"] = f"\\boxed{{{3 * number}}}"
        found[f"def add{number}(a, b):"] = "    return a + b\n```\n"
        found[f"Write add{number}."] = f"def add{number}(a, b):\n    return a + b\n```\n"
        found[f"Event {number} took place."] = f"Event {number}. "
    return found


ANSWERS = _answers()
_own = SharedPrefixLM.generate_until


def generate_until(self: SharedPrefixLM, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
    """In the place of the model's own: eight tokens that it writes, which decide if the right answer comes first."""
    for request in requests:
        context, settings = request.args
        request.arguments = (context, {**settings, "max_gen_toks": 8})
    written = _own(self, requests, disable_tqdm)
    return [_solved(request.args[0], text) for request, text in zip(requests, written, strict=True)]


def _solved(prompt: str, text: str) -> str:
    asked = max(ANSWERS, key=prompt.rfind)
    lucky = sha256(f"{asked}{text}".encode()).digest()[0] % 2
    return f"{ANSWERS[asked] if lucky else ''}{text}"
