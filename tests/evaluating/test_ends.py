"""Written tasks on chat models: what lm-eval's `hf` gives, item by item, whatever token ends a turn."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from layersig.errors import UserError
from layersig.evaluating.items import score_task
from layersig.evaluating.loading import ResolvedTask, load_task
from layersig.evaluating.model import SharedPrefixLM
from layersig.evaluating.stage import evaluate
from layersig.evaluating.tasks import resolve_task
from layersig.jsonform import read_jsonl
from layersig.models.checkpoints import write_merged
from layersig.models.load import load_model
from layersig.recipe.schema import TaskSettings
from layersig.records import Cell
from layersig.sources.source import Request
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams
from tests.chatty import ANSWERS, FAMILIES, TRAINED, chat_model, chat_tokenizer, question, save_chat_model
from tests.evaluating.peers import lm_eval_hf, prompts
from tests.judging.world import Told
from tests.tiny import tiny_model, tiny_tokenizer

YAML = """
task: animals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{ask}}"
doc_to_target: "{{says}}"
generation_kwargs: {until: [], max_gen_toks: 24}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
USER = [{"role": "user", "content": "bee:"}]


def animals(folder: Path, *, extra: str = "", **options: Any) -> ResolvedTask:
    lines = [json.dumps({"ask": question(animal), "says": says}) for animal, says in ANSWERS.items()]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "animals.yaml").write_text(YAML + extra)
    source = resolve_task("file:animals.yaml", None, Request(base_dir=folder, cache=folder / "cache", offline=True))
    return load_task(TaskSettings(source="file:animals.yaml", **options), source.path, Streams(0))


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_written_answers_are_those_of_lm_eval(tmp_path: Path, name: str, chat: bool) -> None:
    task, model = animals(tmp_path, chat=chat), chat_model(name)
    ours = score_task(task, SharedPrefixLM(model, chat_tokenizer(FAMILIES[name])))
    theirs = score_task(task, lm_eval_hf(model, chat_tokenizer(FAMILIES[name])))
    assert ours == theirs
    assert [line["response"] for line in ours.responses] == list(ANSWERS.values())
    assert [outcome.value for outcome in ours.outcomes] == [1.0] * len(ANSWERS)
    assert [ending["finish"] for ending in ours.endings] == ["stop"] * len(ANSWERS)


@pytest.mark.parametrize("name", ["llama-3", "gemma", pytest.param("phi-3", marks=pytest.mark.slow)])
def test_an_end_that_only_the_template_declares_counts(tmp_path: Path, name: str) -> None:
    """As after tuning a base model on chats; lm-eval's `hf` writes on there."""
    family, model = FAMILIES[name], copy.deepcopy(chat_model(name))
    model.generation_config.eos_token_id = family.ids(family.eos)
    for chat in (False, True):
        task = animals(tmp_path, chat=chat)
        ours = score_task(task, SharedPrefixLM(model, chat_tokenizer(family)))
        assert [outcome.value for outcome in ours.outcomes] == [1.0] * len(ANSWERS)
    theirs = score_task(task, lm_eval_hf(model, chat_tokenizer(family)))
    assert all(len(line["response"]) > len(line["target"]) for line in theirs.responses)


@pytest.mark.parametrize("text", ["{{ nonsense", "{% for m in messages %}{{ raise_exception('no') }}{% endfor %}"])
def test_a_broken_template_is_no_matter_of_tasks_without_chats(text: str) -> None:
    tokenizer = chat_tokenizer(FAMILIES["gemma"])
    tokenizer.chat_template = text
    lm = SharedPrefixLM(chat_model("gemma"), tokenizer)
    assert lm.generate_until(prompts([question("cow")], until=[], max_gen_toks=9)) == ["moo"]
    with pytest.raises(UserError, match="chat template"):
        lm.apply_chat_template(USER)


def test_an_end_that_is_no_special_token_stays_in_the_text_as_in_lm_eval() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    requests = prompts(["a", "some words", "b" * 9], until=[], max_gen_toks=30)
    end = "<"
    model.generation_config.eos_token_id = [2, tokenizer.convert_tokens_to_ids(end)]
    ours = SharedPrefixLM(model, tokenizer).generate_until(requests)
    assert ours == lm_eval_hf(model, tiny_tokenizer()).generate_until(requests, disable_tqdm=True)
    assert any(text.endswith(end) and text.count(end) == 1 for text in ours)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("name", ["llama-3", pytest.param("qwen", marks=pytest.mark.slow)])
def test_an_arm_with_an_adapter_ends_as_its_base_does(tmp_path: Path, name: str) -> None:
    base = save_chat_model(tmp_path / "model", name)
    adapted = get_peft_model(
        load_model(base, dtype="float32", device="cpu"), LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
    ).eval()
    for key, weight in adapted.named_parameters():
        if "lora_B" in key:
            weight.data.fill_(0.01)
    adapted.save_pretrained(tmp_path / "adapter")
    task, path = animals(tmp_path), tmp_path / "animals.yaml"
    settings = {
        "tasks": [{"source": "file:animals.yaml"}],
        "batch_tokens": 4096,
        "dtype": "float32",
        "device": "cpu",
        "quantization": "none",
        "attention": "sdpa",
    }
    (tmp_path / "out").mkdir()
    roles = {"model": base, "adapter": tmp_path / "adapter", "task/0": path}
    evaluate(
        Job(
            Cell(arm="ila", data="chats", seed=0),
            Evaluate.of(**settings),
            roles,
            tmp_path / "out",
            tmp_path,
            Streams(0),
        )
    )
    theirs = score_task(task, lm_eval_hf(adapted, chat_tokenizer(FAMILIES[name])))
    lines = list(read_jsonl(tmp_path / "out" / "responses.jsonl"))
    assert [line["response"] for line in lines] == [line["response"] for line in theirs.responses]
    assert [line["finish"] for line in lines] == ["stop"] * len(ANSWERS)
    write_merged(base, tmp_path / "adapter", tmp_path / "merged")
    merged = load_model(tmp_path / "merged", dtype="float32", device="cpu")
    assert merged.generation_config.eos_token_id == FAMILIES[name].ids(FAMILIES[name].generation)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_with_examples_and_in_small_batches_too(tmp_path: Path, name: str, chat: bool, shots: int) -> None:
    extra = "training_split: test\nfewshot_split: test\nfewshot_config: {sampler: first_n}\n"
    task, model = animals(tmp_path, extra=extra, chat=chat, shots=shots), chat_model(name)
    theirs = score_task(task, lm_eval_hf(model, chat_tokenizer(FAMILIES[name])))
    for batch_tokens in (1, 300, 8192):
        ours = score_task(task, SharedPrefixLM(model, chat_tokenizer(FAMILIES[name]), batch_tokens=batch_tokens))
        assert ours == theirs


SETTINGS = [
    {"repetition_penalty": 1.7},
    {"no_repeat_ngram_size": 2},
    {"suppress_tokens": list(range(4, 130))},
    {"begin_suppress_tokens": list(range(60, 200))},
    {"min_new_tokens": 12, "eos_token_id": list(range(2, 90))},
    {"min_new_tokens": 12, "exponential_decay_length_penalty": [12, 9.0]},
    {"bad_words_ids": [[token] for token in range(4, 130)]},
    {"exponential_decay_length_penalty": [3, 2.0]},
    {"do_sample": True, "temperature": 0.3, "top_p": 0.5, "top_k": 3},
    {"max_length": 4096},
]


@pytest.mark.parametrize("of", ["checkpoint", pytest.param("task", marks=pytest.mark.slow)])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_settings_of_checkpoint_and_task_hold_as_in_lm_eval(settings: Mapping[str, Any], of: str) -> None:
    if of == "task" and {"do_sample", "max_length", "eos_token_id"} & settings.keys():
        pytest.skip("refused, see below")
    model, given = tiny_model("llama"), {"until": ["zz"], "max_gen_toks": 16}
    texts = ["short", "a" * 20]
    plain = SharedPrefixLM(model, tiny_tokenizer()).generate_until(prompts(texts, **given))
    if of == "checkpoint":
        model.generation_config.update(**settings)
    else:
        given |= settings
    ours = SharedPrefixLM(model, tiny_tokenizer()).generate_until(prompts(texts, **given))
    assert ours == lm_eval_hf(model, tiny_tokenizer()).generate_until(prompts(texts, **given), disable_tqdm=True)
    assert (ours == plain) is ("do_sample" in settings or "max_length" in settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_beams": 3}, "beam search is not supported"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive search is not supported"),
        ({"guidance_scale": 1.5}, "guidance_scale is not supported"),
        ({"max_length": 60}, "max_length is not supported"),
        ({"eos_token_id": 5}, "eos_token_id is not supported"),
        ({"stop_sequences": ["a"]}, "transformers knows no stop_sequences"),
        ({"do_sample": True, "temperature": 0.7}, "only greedy decoding"),
    ],
)
def test_what_would_change_answers_and_is_not_done_is_refused(settings: dict[str, Any], words: str) -> None:
    lm = SharedPrefixLM(tiny_model("llama"), tiny_tokenizer())
    with pytest.raises(UserError, match=words):
        lm.generate_until(prompts(["a"], until=["b"], **settings))


def test_a_largest_number_of_a_checkpoint_does_not_replace_that_of_a_task() -> None:
    model = tiny_model("llama")
    requests = prompts(["short", "longer text"], until=["zz"], max_gen_toks=9)
    plain = SharedPrefixLM(model, tiny_tokenizer()).generate_until(requests)
    model.generation_config.max_new_tokens = 3
    assert SharedPrefixLM(model, tiny_tokenizer()).generate_until(requests) == plain


def test_stop_strings_of_a_checkpoint_end_an_answer() -> None:
    model, asked = tiny_model("llama"), prompts(["some words"], until=["zz"], max_gen_toks=20)
    [free] = SharedPrefixLM(model, tiny_tokenizer()).generate_until(asked)
    model.generation_config.stop_strings = free[4:6]
    assert SharedPrefixLM(model, tiny_tokenizer()).generate_until(asked) == [free.split(free[4:6])[0]]


HISTORIES = [
    USER,
    [{"role": "system", "content": "Say what it says."}, *USER],
    [*USER, {"role": "assistant", "content": " hum "}, {"role": "user", "content": "cow:"}],
    [*USER, {"role": "assistant", "content": "It says:\n"}],
    [{"role": "system", "content": "Be brief."}, *USER, {"role": "assistant", "content": "h"}],
]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("name", FAMILIES)
def test_chats_are_rendered_as_by_lm_eval(name: str, history: list[dict[str, str]]) -> None:
    model, family = chat_model("llama-3"), FAMILIES[name]  # which renders nothing
    more = history[-1]["role"] == "user"
    ours = SharedPrefixLM(model, chat_tokenizer(family)).apply_chat_template(copy.deepcopy(history), more)
    theirs = lm_eval_hf(model, chat_tokenizer(family)).apply_chat_template(copy.deepcopy(history), more)
    assert ours == theirs


def test_a_description_that_a_template_refuses_is_left_out_with_a_warning(tmp_path: Path) -> None:
    told = Told()
    task = animals(tmp_path, chat=True, extra="description: Say what the animal says.\n")
    lm = SharedPrefixLM(chat_model("gemma"), chat_tokenizer(FAMILIES["gemma"]), reporter=told)
    lm.title = "animals"
    ours = score_task(task, lm)
    assert ours == score_task(task, lm_eval_hf(chat_model("gemma"), chat_tokenizer(FAMILIES["gemma"])))
    assert len(told.warnings) == 1
    assert "animals: the chat template takes no system message" in told.warnings[0]
