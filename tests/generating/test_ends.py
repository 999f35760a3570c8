from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import Gemma3Config, Gemma3TextConfig, PreTrainedModel, PreTrainedTokenizerBase

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.generating.chats import Chat, answer_chats, turn_ends
from layersig.generating.ends import end_tokens
from layersig.models.load import load_model, load_tokenizer
from layersig.pruning.surgery import write_pruned
from layersig.sources.files import digest_model
from layersig.streams import Streams
from tests.chatty import ANSWERS, FAMILIES, TRAINED, chat_model, chat_tokenizer, question, save_chat_model
from tests.tiny import tiny_model, tiny_tokenizer


def extended() -> tuple[PreTrainedTokenizerBase, int]:
    """The tiny tokenizer with a further special token, and its id."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    return tokenizer, int(tokenizer.convert_tokens_to_ids("<end>"))


def in_list(model: PreTrainedModel, end: int) -> None:
    model.generation_config.eos_token_id = [2, end]


def alone(model: PreTrainedModel, end: int) -> None:
    model.generation_config.eos_token_id = end


def in_config(model: PreTrainedModel, end: int) -> None:
    model.config.eos_token_id = end


def in_list_of_config(model: PreTrainedModel, end: int) -> None:
    model.config.eos_token_id = [end, 2]


def in_text_config(model: PreTrainedModel, end: int) -> None:
    text = Gemma3TextConfig(num_hidden_layers=1, hidden_size=8, eos_token_id=end)
    model.config = Gemma3Config(text_config=text, eos_token_id=2)


@pytest.mark.parametrize("declare", [in_list, alone, in_config, in_list_of_config, in_text_config])
def test_every_place_that_declares_an_end_counts(declare: Callable[[PreTrainedModel, int], None]) -> None:
    tokenizer, end = extended()
    model = tiny_model("llama")
    assert end_tokens(model, tokenizer) == {2}
    declare(model, end)
    assert end_tokens(model, tokenizer) == {2, end}


def test_a_default_of_a_configuration_is_no_end_in_another_vocabulary() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    model.config.eos_token_id = 100  # a letter
    assert end_tokens(model, tokenizer) == {2}
    model.generation_config.eos_token_id = 100  # what transformers itself stops at
    assert end_tokens(model, tokenizer) == {2, 100}


def test_a_model_that_declares_no_end_has_none() -> None:
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token = None
    assert end_tokens(model, tokenizer) == frozenset()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_template_alone_tells_how_a_turn_ends(name: str) -> None:
    family, tokenizer = FAMILIES[name], chat_tokenizer(FAMILIES[name])
    form = ChatFormat(tokenizer)
    assert form.turn_end == family.ids(family.end)
    model = tiny_model("llama")
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    assert turn_ends(model, form) == {family.ids(family.end), family.ids(family.eos)}


@pytest.mark.parametrize("name", TRAINED)
def test_chats_end_with_the_turn(name: str) -> None:
    form = ChatFormat(chat_tokenizer(FAMILIES[name]))
    model = copy.deepcopy(chat_model(name))
    chats = [Chat(animal, (Message("user", question(animal)),)) for animal in ANSWERS]
    whole = answer_chats(model, form, chats, Streams(0), max_new_tokens=20)
    assert [(each.text, each.finish) for each in whole] == [(answer, "stop") for answer in ANSWERS.values()]
    assert [each.tokens for each in whole] == [len(answer) + 1 for answer in ANSWERS.values()]
    # A base model trained on chats: nothing but the template says how turns end.
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    assert answer_chats(model, form, chats, Streams(0), max_new_tokens=20) == whole


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("name", ["llama-3", pytest.param("phi-3", marks=pytest.mark.slow)])
def test_what_is_made_of_a_model_ends_as_the_model_does(tmp_path: Path, name: str) -> None:
    source = save_chat_model(tmp_path / "source", name)
    due = turn_ends(chat_model(name), ChatFormat(chat_tokenizer(FAMILIES[name])))
    write_pruned(source, [0], tmp_path / "pruned")
    for folder in (source, tmp_path / "pruned"):
        model, tokenizer = load_model(folder, dtype="float32", device="cpu"), load_tokenizer(folder)
        assert turn_ends(model, ChatFormat(tokenizer)) == due
        adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
        assert turn_ends(adapted, ChatFormat(tokenizer)) == due


@pytest.mark.parametrize(
    "file", ["generation_config.json", "config.json", "tokenizer_config.json", "chat_template.jinja"]
)
def test_every_file_that_declares_an_end_is_part_of_a_models_identity(tmp_path: Path, file: str) -> None:
    folder = save_chat_model(tmp_path / "model", "llama-3")
    before = digest_model(folder, tmp_path)
    (folder / file).write_text((folder / file).read_text() + "\n")
    assert digest_model(folder, tmp_path) != before


def test_an_answer_of_the_largest_size_that_ends_is_not_cut() -> None:
    form = ChatFormat(chat_tokenizer(FAMILIES["gemma"]))
    chats = [Chat(animal, (Message("user", question(animal)),)) for animal in ("dog", "cat")]
    found = answer_chats(chat_model("gemma"), form, chats, Streams(0), max_new_tokens=4)
    assert [(each.text, each.finish) for each in found] == [("bark", "length"), ("mew", "stop")]
