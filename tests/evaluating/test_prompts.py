"""The text of a prompt is kept as the model reads it, not its digest alone."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

from layersig.evaluating.items import score_task
from layersig.evaluating.loading import load_task
from layersig.evaluating.local import LONGEST_EXAMPLE
from layersig.evaluating.model import SharedPrefixLM
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams
from tests.evaluating.peers import lm_eval_hf
from tests.evaluating.test_shots import CHOICE, WRITTEN, boxes, task
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = CHOICE.replace(
    'doc_to_text: "Box {{box}} is"\ndoc_to_target: answer\ndoc_to_choice: choices',
    'doc_to_text: answer\ndoc_to_target: "seen"\ndoc_to_choice: choices',
)


def kept(path: Path, shots: int, *, chat: bool = False) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    """What the summary keeps, and the requests of the first item as lm-eval got them."""
    loaded = load_task(TaskSettings(source=f"file:{path}", shots=shots, chat=chat), path, Streams(0))
    scored = score_task(loaded, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    [part] = loaded.parts
    first = [tuple(request.args) for request in part.instances if request.doc_id == 0]
    return dict(scored.summary["boxes"]["prompt"]), first


@pytest.mark.parametrize("text", [CHOICE, WRITTEN], ids=["choice", "written"])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("shots", [0, 3])
def test_the_first_prompt_is_kept_with_its_examples(tmp_path: Path, text: str, chat: bool, shots: int) -> None:
    path = task(tmp_path, text, {"test": boxes(4), "train": boxes(6, 50)}, extra="training_split: train\n")
    prompt, first = kept(path, shots, chat=chat)
    assert prompt["texts"] == [first[0][0]]
    [shown] = prompt["texts"]
    assert shown.count("Box B") == shots + 1
    assert shown.count("Box B00 is") == 1
    assert "<" in shown if chat else shown.endswith("Box B00 is")
    assert prompt["answers"] == ([request[1] for request in first] if text is CHOICE else [])
    assert str(prompt["item"]).startswith("0:")
    assert "cut" not in prompt


@pytest.mark.parametrize("text", [CHOICE, WRITTEN], ids=["choice", "written"])
@pytest.mark.parametrize("extra", ["", "description: Look.\n", 'gen_prefix: "It is"\n'], ids=["", "told", "begun"])
def test_chats_with_examples_are_those_of_lm_eval(tmp_path: Path, text: str, extra: str) -> None:
    """Of plain lm-eval with `--apply_chat_template`, which makes turns of the examples unless told otherwise."""
    train = json.dumps({name: str(tmp_path / f"{name}.jsonl") for name in ("test", "train")})
    extra += "training_split: train\nfewshot_config: {sampler: first_n}\n"
    path = task(tmp_path, text.replace("FILES", train), {"test": boxes(4), "train": boxes(6, 50)}, extra=extra)
    loaded = load_task(TaskSettings(source=f"file:{path}", shots=3, chat=True), path, Streams(0))
    ours = score_task(loaded, SharedPrefixLM(tiny_model("llama"), tiny_tokenizer()))
    theirs = lm_eval.simple_evaluate(
        lm_eval_hf(tiny_model("llama"), tiny_tokenizer()),
        tasks=["boxes"],
        num_fewshot=3,
        apply_chat_template=True,
        task_manager=TaskManager(include_defaults=False, include_path=str(tmp_path)),
        bootstrap_iters=0,
    )
    assert theirs is not None
    shown = {each["doc_id"]: [tuple(args) for args in each["arguments"]] for each in theirs["samples"]["boxes"]}
    assert shown == {each["doc_id"]: [tuple(args) for args in each["arguments"]] for each in ours.samples["boxes"]}
    assert shown[0][0][0].count("assistant\n") == 4
    assert ours.summary["boxes"]["lm_eval"] == {
        name: pytest.approx(value)
        for name, value in theirs["results"]["boxes"].items()
        if name.endswith(",none") and "stderr" not in name
    }


def test_where_the_choices_are_what_is_read_each_is_kept(tmp_path: Path) -> None:
    prompt, first = kept(task(tmp_path, PAIRS, {"test": boxes(4)}), 0)
    assert prompt["texts"] == [request[0] for request in first] == ["red", "blue"]
    assert prompt["answers"] == [" seen"]


def test_a_book_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [{**row, "box": "x" * (2 * LONGEST_EXAMPLE)} for row in boxes(2)]
    prompt, _ = kept(task(tmp_path, CHOICE, {"test": rows}), 0)
    assert prompt["cut"] is True
    assert [len(text) for text in prompt["texts"]] == [LONGEST_EXAMPLE]
