"""Probes of memorisation: what they compute, where they apply, and that they find what was memorised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.local import LocalTask
from layersig.evaluating.memorisation import min_k, probe, reordered
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.tiny import tiny_model, tiny_tokenizer

HEAD = """
task: quiz
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
metric_list: [{metric: acc}]
"""
CHOICE = HEAD + "output_type: multiple_choice\n"
LETTERS = CHOICE + (
    'doc_to_text: "{{q}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nAnswer:"\n'
    'doc_to_choice: ["A", "B", "C"]\ndoc_to_target: answer\n'
)
NESTED = CHOICE + (
    'doc_to_text: "{{q}}{% for c in choices.text %}\\n{{choices.label[loop.index0]}}. {{c}}{% endfor %}\\nAnswer:"\n'
    'doc_to_choice: "{{choices.label}}"\ndoc_to_target: "{{choices.label.index(key)}}"\n'
)
TEXTS = CHOICE + ("doc_to_text: \"{{q}} ({{choices | join(', ')}})\"\ndoc_to_choice: choices\ndoc_to_target: answer\n")
HIDDEN = CHOICE + 'doc_to_text: "{{q}}"\ndoc_to_choice: choices\ndoc_to_target: answer\n'
WRITTEN = HEAD.replace("acc", "exact_match") + (
    'output_type: generate_until\ndoc_to_text: "{{q}}"\ndoc_to_target: "{{choices[answer]}}"\n'
    'generation_kwargs: {until: ["\\n"], max_gen_toks: 2}\n'
)


def rows(count: int) -> list[dict[str, Any]]:
    words = ("red", "blue", "green", "grey", "pink")
    return [
        {"q": f"Colour {n}?", "choices": [words[n % 5], words[(n + 1) % 5], words[(n + 2) % 5]], "answer": n % 3}
        for n in range(count)
    ]


def nested(count: int) -> list[dict[str, Any]]:
    return [
        {"q": row["q"], "choices": {"label": ["A", "B", "C"], "text": row["choices"]}, "key": "ABC"[row["answer"]]}
        for row in rows(count)
    ]


def task(folder: Path, text: str, content: Sequence[Mapping[str, Any]], shots: int = 0) -> ResolvedTask:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, content)))
    (folder / "quiz.yaml").write_text(text)
    path = folder / "quiz.yaml"
    return load_task(TaskSettings(source=f"file:{path}", shots=shots), path, Streams(0))


@pytest.mark.parametrize(("text", "content"), [(LETTERS, rows(6)), (NESTED, nested(6)), (TEXTS, rows(6))])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_choices_move_and_the_right_one_is_followed(
    tmp_path: Path, text: str, content: list[dict[str, Any]], seed: int
) -> None:
    [part] = task(tmp_path, text, content).parts
    for row, plain in zip(part.eval_docs, rows(6), strict=True):
        found = reordered(part, row, np.random.default_rng(seed))
        assert found is not None
        shown = found.row["choices"]["text"] if isinstance(row["choices"], dict) else found.row["choices"]
        assert sorted(shown) == sorted(plain["choices"])
        assert shown != plain["choices"]
        assert {shown[place] for place in found.right} == {plain["choices"][plain["answer"]]}
        if text is NESTED:
            assert found.row["choices"]["label"] == ["A", "B", "C"]


@pytest.mark.parametrize("text", [HIDDEN, WRITTEN])
def test_where_no_choices_are_shown_there_is_no_other_order(tmp_path: Path, text: str) -> None:
    [part] = task(tmp_path, text, rows(4)).parts
    assert all(reordered(part, row, np.random.default_rng(0)) is None for row in part.eval_docs)


@pytest.fixture(scope="module")
def model() -> SharedPrefixLM:
    return SharedPrefixLM(tiny_model("llama"), tiny_tokenizer(), batch_tokens=64)


@pytest.mark.parametrize("k", [0.1, 0.2, 0.5, 1.0])
def test_min_k_is_the_mean_of_the_least_likely_tokens(model: SharedPrefixLM, k: float) -> None:
    texts = ["a", "the quick brown fox", "say 3 abcabc and a longer text than the others"]
    for text, found in zip(texts, min_k(model, texts, k), strict=True):
        ids = torch.tensor([[model.prefix_token_id, *model.tokenizer.encode(text, add_special_tokens=False)]])
        with torch.no_grad():
            logs = model.decoder.model(ids).logits.double().log_softmax(-1)[0, :-1]
        tokens = sorted(logs[torch.arange(ids.shape[1] - 1), ids[0, 1:]].tolist())
        wanted = tokens[: -(-round(k * len(tokens) * 1000) // 1000)]
        assert found.tokens == len(tokens)
        assert found.min_k == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)


def by_hand(model: SharedPrefixLM, part: LocalTask, requests: list[Any], right: set[int]) -> float:
    likelihoods = [model.loglikelihood([request])[0][0] for request in requests]
    return float(int(np.argmax(likelihoods)) in right)


@pytest.mark.parametrize("shots", [0, 2])
def test_accuracy_is_that_of_the_task_and_of_the_reordered_rows(
    tmp_path: Path, model: SharedPrefixLM, shots: int
) -> None:
    loaded = task(tmp_path, LETTERS, rows(9), shots)
    scored = score_task(loaded, model)
    before = [request.args for request in loaded.parts[0].instances]
    lines = probe(loaded, model, Streams(0))
    assert [line["item"] for line in lines] == [outcome.item for outcome in scored.outcomes]
    assert [line["acc"] for line in lines] == [outcome.value for outcome in scored.outcomes]
    [part] = loaded.parts
    others = [
        reordered(part, row, Streams(0).generator("memorisation", "quiz", line["item"]))
        for row, line in zip(part.eval_docs, lines, strict=True)
    ]
    asked = part.requests_of([other.row for other in others if other is not None])
    wanted = [by_hand(model, part, own, set(o.right)) for own, o in zip(asked, others, strict=True) if o is not None]
    assert [line["acc_reordered"] for line in lines] == wanted
    assert [request.args for request in part.instances] == before
    assert lines == probe(loaded, model, Streams(0))


@pytest.mark.parametrize("text", [HIDDEN, WRITTEN])
def test_other_tasks_get_min_k_of_question_and_answer_alone(tmp_path: Path, model: SharedPrefixLM, text: str) -> None:
    loaded = task(tmp_path, text, rows(4))
    score_task(loaded, model)
    lines = probe(loaded, model, Streams(0))
    assert [line["min_k"] for line in lines] == [each.min_k for each in min_k(model, loaded.parts[0].texts())]
    assert all("acc_reordered" not in line and "min_k_reordered" not in line for line in lines)
