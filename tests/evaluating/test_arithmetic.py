from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from layersig.errors import UserError
from layersig.evaluating.arithmetic import answers
from layersig.evaluating.items import score_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.probes.arithmetic import TEMPLATES
from tests.evaluating.test_written import load
from tests.tiny import tiny_model, tiny_tokenizer

EXPRESSIONS = ("(9 + 8) * 2", "(4 - 7) - 3", "(1 - 5) - 6", "(2 + 5) + 3", "(3 * 5) + 7", "(4 * 4) * 1")
LINES = [{"context": f"\n\nQ: What is {each}?\n\nA:", "completion": f" {eval(each)}"} for each in EXPRESSIONS]


class WholeTokens(LM):
    """Knows every answer as one token, and nothing of digits that stand alone: it finds 7 likeliest."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(self.said(*request.args), False) for request in requests]

    def said(self, context: str, continuation: str) -> float:
        if not continuation.endswith("\n"):
            return -1.0 if continuation.strip() == "7" else -2.0
        asked = context.split("\n")[-2:] if "=" not in context.split("\n")[-1] else [context.split("\n")[-1]]
        expression = "".join(asked).removeprefix("Question: What is ").removeprefix("Q: What is ")
        return -0.1 if eval(expression.split("?")[0].split("=")[0]) == int(continuation) else -3.0

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError

    def generate_until(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError


def values(scored: Any, metric: str) -> list[float]:
    return [outcome.value for outcome in scored.outcomes if outcome.metric == metric]


def test_an_answer_of_several_digits_in_one_token(tmp_path: Path) -> None:
    whole = score_task(load(tmp_path, "arithmetic_answer", *LINES), WholeTokens())
    # One of the six stands solved in the prompt; five are asked in three ways.
    assert values(whole, "acc") == [1.0] * 15
    assert values(whole, "logprob") == [-0.1] * 15
    assert len({outcome.cluster for outcome in whole.outcomes}) == 5
    assert whole.summary["arithmetic_answer"]["constant"] == pytest.approx(1 / 5)  # 34, -6, -10, 10, 22
    first = score_task(load(tmp_path, "arithmetic_first_digit", *LINES), WholeTokens())
    assert values(first, "acc") == [0.0] * 5
    # First digits 3, 6, 1, 1, 2.
    assert first.summary["arithmetic_first_digit"]["constant"] == pytest.approx(2 / 5)


def test_log_probabilities_are_those_of_the_model(tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama", dtype=torch.float64), tiny_tokenizer()
    for name in ("arithmetic_first_digit", "arithmetic_answer"):
        task = load(tmp_path, name, *LINES)
        scored = score_task(task, SharedPrefixLM(model, tokenizer, max_length=2048))
        row = task.parts[0].eval_docs[1]
        prompt, right = tokenizer.encode(row["prompt"]), tokenizer.encode(row["choices"][row["right"]])
        logits = model(torch.tensor([prompt + right])).logits[0].log_softmax(-1)
        expected = sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(right))
        assert values(scored, "logprob")[1] == pytest.approx(expected, rel=1e-6)


def test_both_ways_to_answer_have_the_same_items(tmp_path: Path) -> None:
    chosen, written = (load(tmp_path, name, *LINES) for name in ("arithmetic_answer", "arithmetic_written"))
    assert chosen.items(chosen.parts[0]) == written.items(written.parts[0])
    assert len(chosen.items(chosen.parts[0])) == 5 * len(TEMPLATES)


def test_a_limit_draws_the_same_items_of_tasks_that_are_said_to_have_the_same(tmp_path: Path) -> None:
    def drawn(*same_items: tuple[str, str]) -> list[list[str]]:
        tasks = (
            load(tmp_path, name, *LINES, limit=4, same_items=same_items)
            for name in ("arithmetic_answer", "arithmetic_written")
        )
        return [task.items(task.parts[0]) for task in tasks]

    asked, written = drawn()
    assert asked != written
    assert drawn(("arithmetic_answer", "arithmetic_written")) == [asked, asked]
    assert drawn(("between", "arithmetic_written"), ("arithmetic_answer", "between")) == [asked, asked]
    asked, written = drawn(("arithmetic_answer", "another"), ("one", "arithmetic_written"))
    assert asked != written


def test_other_rows_are_refused() -> None:
    with pytest.raises(UserError, match="arithmetic tasks read rows with `context` and `completion`"):
        answers(Dataset.from_list([{"question": "1 + 1?"}]))
    with pytest.raises(UserError, match="no problem is left"):
        answers(Dataset.from_list(LINES[-1:]))
