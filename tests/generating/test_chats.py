from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Message
from layersig.generating.chats import Chat, Response, answer_chats, responses, turn_ends
from layersig.generating.sampling import GREEDY, Sampling
from layersig.streams import Streams
from tests.tiny import tiny_model, tiny_tokenizer

WARM = Sampling(0.9, 0.95)
CHATS = [
    Chat("one", (Message("user", "What is one and one?"),)),
    Chat("two", (Message("system", "Be brief."), Message("user", "Who?"))),
    Chat(
        "three",
        (Message("user", "A" * 30), Message("assistant", "B"), Message("user", "And after that, what follows?")),
    ),
    Chat("four", (Message("user", "What is one and two?"),)),
]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", dtype=torch.float64)


@pytest.fixture(scope="module")
def form() -> ChatFormat:
    return ChatFormat(tiny_tokenizer())


def answers(model: PreTrainedModel, form: ChatFormat, chats: list[Chat] = CHATS, **options: object) -> list[Response]:
    settings = {"max_new_tokens": 24, "sampling": WARM, "samples": 2, **options}
    return answer_chats(model, form, chats, Streams(5), **settings)  # type: ignore[arg-type]


def test_answers_depend_on_nothing_but_chat_sample_and_seed(model: PreTrainedModel, form: ChatFormat) -> None:
    whole = answers(model, form)
    assert [(each.chat, each.sample) for each in whole] == [(chat.id, n) for chat in CHATS for n in (0, 1)]
    assert whole == answers(model, form, batch_tokens=1) == answers(model, form, batch_tokens=300)
    assert [each for each in whole if each.chat == "two"] == answers(model, form, [CHATS[1]])
    assert [each for each in whole if each.sample == 0] == answers(model, form, samples=1)
    assert len({each.text for each in whole}) == len({each.seed for each in whole}) == 8
    assert answer_chats(model, form, CHATS, Streams(6), max_new_tokens=24, sampling=WARM, samples=2) != whole


def test_greedy_answers_are_those_of_transformers(model: PreTrainedModel, form: ChatFormat) -> None:
    for chat, answer in zip(CHATS, answers(model, form, sampling=GREEDY, samples=1), strict=True):
        ids = torch.tensor(form.prompt(chat.messages)[None].astype("int64"))
        written = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :]
        assert answer.text == form.tokenizer.decode(written, skip_special_tokens=True).strip()
        assert answer.tokens == len(written)


def test_what_is_known_is_not_answered_again_and_changes_nothing(model: PreTrainedModel, form: ChatFormat) -> None:
    options = {"max_new_tokens": 12, "sampling": WARM, "samples": 2, "batch_tokens": 300}
    whole = [each for batch in responses(model, form, CHATS, Streams(5), **options) for each in batch]
    known = {(each.chat, each.sample) for each in whole[:5]}
    rest = [each for batch in responses(model, form, CHATS, Streams(5), known=known, **options) for each in batch]
    assert rest == whole[5:]
    everything = {(each.chat, each.sample) for each in whole}
    assert list(responses(model, form, CHATS, Streams(5), known=everything, **options)) == []


def test_an_answer_ends_with_the_turn(form: ChatFormat) -> None:
    eager = tiny_model("llama", dtype=torch.float64)
    with torch.no_grad():
        eager.lm_head.weight[2] *= 6
    found = answers(eager, form, max_new_tokens=40, sampling=Sampling(1.0), samples=6)
    ended = [each for each in found if each.finish == "stop"]
    assert ended
    assert all("</s>" not in each.text and each.tokens <= 40 for each in ended)
    assert {each.finish for each in found} <= {"stop", "length"}
    assert all(each.tokens == 40 for each in found if each.finish == "length")


def test_where_the_context_ends_is_told(form: ChatFormat) -> None:
    short = tiny_model("llama", dtype=torch.float64)
    short.config.max_position_embeddings = 40
    chats = [Chat("fits", (Message("user", "Why?"),)), Chat("full", (Message("user", "w" * 60),))]
    fits, full = answers(short, form, chats, max_new_tokens=30, samples=1, sampling=GREEDY)
    assert (full.finish, full.text, full.tokens) == ("no-room", "", 0)
    assert (fits.finish, fits.tokens) == ("context", 40 - len(form.prompt(chats[0].messages)))


def test_every_token_that_ends_a_turn_counts(model: PreTrainedModel, form: ChatFormat) -> None:
    assert turn_ends(model, form) == {2}
    other = tiny_model("llama")
    other.generation_config.eos_token_id = [7, 2]
    assert turn_ends(other, form) == {2, 7}


def test_a_response_survives_its_line(model: PreTrainedModel, form: ChatFormat) -> None:
    [found] = answers(model, form, CHATS[:1], samples=1)
    assert Response.from_json(found.to_json()) == found
