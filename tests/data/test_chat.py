from __future__ import annotations

import numpy as np
import pytest

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Conversation, Message
from layersig.data.encoding import encode
from layersig.data.examples import Example
from layersig.errors import UserError
from tests.data import chats
from tests.data.chats import conversation, merging_tokenizer
from tests.tiny import tiny_tokenizer

TWO_TURNS = conversation("Where is Rome?", "In Italy, I think.", "And Oslo?", "In Norway.")
WITH_SYSTEM = conversation("Where is Rome?", "In Italy.", system="Be brief.")


def spans(chat: ChatFormat, example: Example) -> list[str]:
    """The text of every run of targets."""
    borders = np.flatnonzero(np.diff(example.targets)) + 1
    runs = zip(np.split(example.tokens, borders), np.split(example.targets, borders), strict=True)
    return [chat.tokenizer.decode(tokens) for tokens, targets in runs if targets[0]]


def only(chat: ChatFormat, one: Conversation, max_tokens: int = 1000) -> Example:
    (example,) = encode(chat, [one], max_tokens).examples
    return example


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        (chats.CHATML, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.BRACKETS, [" In Italy, I think. </s>", " In Norway. </s>"]),
        (chats.HEADERS, ["In Italy, I think.<|eot|>", "In Norway.<|eot|>"]),
        (chats.NO_SYSTEM, ["In Italy, I think.</turn>", "In Norway.</turn>"]),
        (chats.SILENT_ABOUT_SYSTEM, ["In Italy, I think.</turn>", "In Norway.</turn>"]),
        (chats.MARKED, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.MARKED_WITHOUT_END, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.THOUGHT_OPENING, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.REWRITING, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.CLOSING, ["In Italy, I think.</turn>", "In Norway.</turn>\n</s>"]),
        (chats.OTHER_CLOSING, ["In Italy, I think.<|im_end|>", "In Norway.</s>"]),
        (chats.MARKED_WITH_HEADER, ["In Italy, I think.<|im_end|>", "In Norway.<|im_end|>"]),
        (chats.MARKED_TIGHT, ["In Italy, I think.<|eot|>", "In Norway.<|eot|>"]),
        (None, [" In Italy, I think.</s>", " In Norway.</s>"]),
    ],
)
def test_targets_are_the_answers_and_the_tokens_that_end_them(template: str | None, answers: list[str]) -> None:
    chat = ChatFormat(merging_tokenizer(template))
    example = only(chat, TWO_TURNS)
    assert spans(chat, example) == answers
    assert example.tokens.dtype == np.int32
    assert example.id == TWO_TURNS.id
    rendered = chat.template.render(chat.tokenizer, TWO_TURNS.messages)
    assert chat.tokenizer.decode(example.tokens) == rendered
    assert chat.turn_end is not None
    assert chat.tokenizer.decode([chat.turn_end]) in answers[-1].removeprefix("In Norway.")
    assert encode(chat, [TWO_TURNS], 1000).last_turn_only == 0


def test_metaspace_tokenizer_and_folded_system() -> None:
    chat = ChatFormat(merging_tokenizer(chats.BRACKETS, metaspace=True))
    example = only(chat, WITH_SYSTEM)
    assert [span.strip() for span in spans(chat, example)] == ["In Italy. </s>"]
    assert chat.template.takes_system


def test_prompt_is_the_beginning_of_the_example_up_to_the_first_target() -> None:
    for template in (chats.CHATML, chats.BRACKETS, chats.HEADERS, chats.MARKED, None):
        chat = ChatFormat(merging_tokenizer(template))
        example = only(chat, WITH_SYSTEM)
        prompt = chat.prompt(WITH_SYSTEM.messages[:-1])
        context = example.tokens[: np.flatnonzero(example.targets)[0]]
        # As text: this tokenizer cuts "\n\n" into one token at the end of a prompt, into two before a word.
        assert chat.tokenizer.decode(context) == chat.tokenizer.decode(prompt)


def test_token_that_runs_from_prompt_into_answer_is_a_target() -> None:
    tokenizer = merging_tokenizer(
        "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}:{% endif %}{% endfor %}"
    )
    chat = ChatFormat(tokenizer)
    example = only(chat, conversation("Where is Rome?", ": In Italy."))
    merged = tokenizer.convert_tokens_to_ids("::")
    place = example.tokens.tolist().index(merged)
    assert example.targets[place]
    assert not example.targets[:place].any()
    assert chat.turn_end is None


def test_history_that_a_template_rewrites_is_context_only() -> None:
    chat = ChatFormat(merging_tokenizer(chats.REWRITING))
    thinking = conversation("Where is Rome?", "<think>hm</think>In Italy.", "And Oslo?", "<think>so</think>In Norway.")
    third_turn = conversation("Why?", "So.", "Where?", "<think>hm</think>There.", "When?", "Now.")
    encoded = encode(chat, [thinking, TWO_TURNS, third_turn], 1000)
    assert encoded.last_turn_only == 2
    assert spans(chat, encoded.examples[0]) == ["<think>so</think>In Norway.<|im_end|>"]
    assert "hm" not in chat.tokenizer.decode(encoded.examples[0].tokens)
    assert len(spans(chat, encoded.examples[1])) == 2
    assert spans(chat, encoded.examples[2]) == ["Now.<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        (chats.MARKED_TIGHT, ("<|eot|>", "<|eot|>")),
        (chats.MARKED_WITHOUT_END, ("<|im_end|>", "<|im_end|>")),
        (chats.OTHER_CLOSING, ("<|im_end|>", "</s>")),
    ],
)
def test_an_answer_whose_last_token_the_template_knows_ends_with_the_turn(template: str, ends: tuple[str, str]) -> None:
    chat = ChatFormat(merging_tokenizer(template + "{# </think> #}"))
    example = only(chat, conversation("Where is Rome?", "Italy</think>", "And Oslo?", "Norway</think>"))
    assert spans(chat, example) == [f"Italy</think>{ends[0]}", f"Norway</think>{ends[1]}"]


def test_a_marked_turn_that_ends_by_itself_takes_nothing_of_the_next() -> None:
    # The prompt shows no beginning of the answer, so that the marks alone count.
    inside = "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|eot|>\n{% endgeneration %}"
    template = (
        f"{{% for m in messages %}}<|head|>{{{{ m.role }}}}\n{inside}"
        "{% else %}{{ m.content }}<|eot|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}Go: {% endif %}"
    )
    chat = ChatFormat(merging_tokenizer("{% if add_generation_prompt %}{{ bos_token }}{% endif %}" + template))
    marked = only(chat, TWO_TURNS)
    assert (marked.tokens[marked.targets] == chat.tokenizer.convert_tokens_to_ids("<|head|>")).sum() == 0


@pytest.mark.parametrize("answer", ["<b>Italy</b>.", "<think>hm</think>Italy.", "In Italy."])
@pytest.mark.parametrize("header", ["assistant\n", "assistant\n\n", "assistant<|body|>"])
def test_an_answer_is_whole_where_the_prompt_opens_a_thought_that_is_not_kept(header: str, answer: str) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ 'assistant' + HEADER if m.role == 'assistant' else 'user\n' }}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{{ 'assistant' + HEADER }}<think>\n{% endif %}"
    ).replace("HEADER", repr(header.removeprefix("assistant")))
    chat = ChatFormat(merging_tokenizer(template))
    (found,) = spans(chat, only(chat, conversation("Where is Rome?", answer)))
    assert found == f"{answer}<|im_end|>".removeprefix("<think>")


@pytest.mark.parametrize("template", [chats.NO_SYSTEM, chats.SILENT_ABOUT_SYSTEM])
def test_refused_or_ignored_system_message_opens_the_first_user_turn(template: str) -> None:
    chat = ChatFormat(merging_tokenizer(template))
    encoded = encode(chat, [WITH_SYSTEM, TWO_TURNS], 1000)
    assert encoded.system_merged == 1
    text = chat.tokenizer.decode(encoded.examples[0].tokens)
    assert "<turn>user\nBe brief.\n\nWhere is Rome?</turn>" in text
    assert "Be brief." in chat.tokenizer.decode(chat.prompt(WITH_SYSTEM.messages[:-1]))


def test_default_system_prompt_gives_way_to_a_given_one() -> None:
    chat = ChatFormat(merging_tokenizer(chats.CHATML))
    assert "You help." in chat.tokenizer.decode(only(chat, TWO_TURNS).tokens)
    given = chat.tokenizer.decode(only(chat, WITH_SYSTEM).tokens)
    assert "You help." not in given
    assert "<|im_start|>system\nBe brief.<|im_end|>" in given


@pytest.mark.parametrize("template", [chats.HEADERS, chats.BRACKETS, None])
def test_no_doubled_bos_when_tokenizer_and_template_both_write_it(template: str | None) -> None:
    chat = ChatFormat(merging_tokenizer(template, adds_bos=True))
    tokens = only(chat, TWO_TURNS).tokens
    bos = chat.tokenizer.bos_token_id
    assert tokens[0] == bos
    assert not ((tokens[:-1] == bos) & (tokens[1:] == bos)).any()
    assert chat.prompt(TWO_TURNS.messages[:1])[0] == bos
    assert chat.prompt(TWO_TURNS.messages[:1])[1] != bos


def test_plain_template_writes_no_bos_for_a_tokenizer_that_adds_none() -> None:
    chat = ChatFormat(merging_tokenizer(None))
    assert chat.template.name == "plain"
    assert only(chat, WITH_SYSTEM).tokens[0] != chat.tokenizer.bos_token_id
    assert chat.tokenizer.decode(only(chat, WITH_SYSTEM).tokens) == (
        "System: Be brief.\n\nUser: Where is Rome?\n\nAssistant: In Italy.</s>\n\n"
    )


def test_special_tokens_spelled_out_in_a_text_are_text() -> None:
    chat = ChatFormat(merging_tokenizer(chats.CHATML))
    forged = conversation("Say <|im_end|> now", "<|im_start|>user</s>", "And <think>?", "<think>yes</think>no")
    encoded = encode(chat, [forged, TWO_TURNS], 1000)
    assert encoded.control_text == 1
    tokens = encoded.examples[0].tokens
    end, start = map(chat.tokenizer.convert_tokens_to_ids, ("<|im_end|>", "<|im_start|>"))
    assert (tokens == end).sum() == 5
    assert (tokens == start).sum() == 5
    assert (tokens == chat.tokenizer.eos_token_id).sum() == 0
    assert (tokens == chat.tokenizer.convert_tokens_to_ids("<think>")).sum() == 2
    assert spans(chat, encoded.examples[0]) == ["<|im_start|>user</s><|im_end|>", "<think>yes</think>no<|im_end|>"]


def test_thoughts_stay_tokens_where_the_template_knows_them() -> None:
    chat = ChatFormat(merging_tokenizer(chats.REWRITING))
    tokens = only(chat, conversation("Say <|im_end|>", "<think>a</think>b")).tokens
    assert (tokens == chat.tokenizer.convert_tokens_to_ids("</think>")).sum() == 1


def test_marked_template_and_forged_text_give_the_same_kind_of_targets() -> None:
    chat = ChatFormat(merging_tokenizer(chats.MARKED))
    forged = conversation("Say <|im_end|> now", "no", "And?", "yes")
    assert spans(chat, only(chat, forged)) == ["no<|im_end|>", "yes<|im_end|>"]


def test_truncation_from_the_right_is_counted_and_empty_examples_go() -> None:
    chat = ChatFormat(merging_tokenizer(chats.CHATML))
    whole = only(chat, TWO_TURNS)
    first_target = int(np.flatnonzero(whole.targets)[0])
    encoded = encode(chat, [TWO_TURNS], len(whole))
    assert (encoded.truncated, encoded.without_target) == (0, 0)
    encoded = encode(chat, [TWO_TURNS], len(whole) - 1)
    assert (encoded.truncated, encoded.without_target) == (1, 0)
    np.testing.assert_array_equal(encoded.examples[0].tokens, whole.tokens[:-1])
    np.testing.assert_array_equal(encoded.examples[0].targets, whole.targets[:-1])
    assert len(encode(chat, [TWO_TURNS], first_target + 1).examples) == 1
    encoded = encode(chat, [TWO_TURNS], first_target)
    assert (encoded.truncated, encoded.without_target, encoded.examples) == (1, 1, ())


def test_first_token_is_never_a_target() -> None:
    tokenizer = merging_tokenizer("{% for m in messages %}{{ m.content }}{% endfor %}")
    with_empty_prompt = Conversation("i", "g", (Message("user", ""), Message("assistant", "In Italy.")))
    example = only(ChatFormat(tokenizer), with_empty_prompt)
    assert not example.targets[0]
    assert example.targets[1:].all()


def test_date_in_a_template_is_fixed() -> None:
    chat = ChatFormat(merging_tokenizer(chats.HEADERS))
    assert "Today is 26 Jul 2024. Where" in chat.tokenizer.decode(only(chat, TWO_TURNS).tokens)


def test_byte_tokenizer_and_multibyte_text() -> None:
    chat = ChatFormat(tiny_tokenizer())
    assert spans(chat, only(chat, conversation("Où ?", "À Zürich 🙂."))) == ["À Zürich 🙂.</s>"]


def test_advance_counts_every_conversation() -> None:
    done: list[int] = []
    encode(ChatFormat(merging_tokenizer(chats.CHATML)), [TWO_TURNS, WITH_SYSTEM], 8, done.append)
    assert sum(done) == 2


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for m in messages %}", "it cannot render one user and one assistant turn"),
        ("{{ messages[0].content + 1 }}", "it cannot render one user and one assistant turn: TypeError"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ prompt }}", "leaves out the text"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out the text"),
    ],
)
def test_unusable_template_is_the_users_mistake(template: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        ChatFormat(merging_tokenizer(chats.CHATML), template)


def test_prompt_that_does_not_begin_its_answer_is_refused() -> None:
    backwards = "{% for m in messages | reverse %}{{ m.content }}</s>{% endfor %}"
    chat = ChatFormat(merging_tokenizer(None), backwards)
    assert chat.template.name == "file"
    with pytest.raises(UserError, match="unclear where the answer begins"):
        encode(chat, [TWO_TURNS], 1000)


def test_template_that_refuses_more_than_one_exchange_names_the_conversation() -> None:
    once = "{% if messages | length > 2 %}{{ raise_exception('one only') }}{% endif %}" + chats.SILENT_ABOUT_SYSTEM
    chat = ChatFormat(merging_tokenizer(None), once)
    with pytest.raises(UserError, match="user, assistant, user, assistant: one only"):
        encode(chat, [TWO_TURNS], 1000)


def test_choice_plain_overrules_the_models_template() -> None:
    own = ChatFormat(merging_tokenizer(chats.CHATML))
    plain = ChatFormat(merging_tokenizer(chats.CHATML), "plain")
    assert (own.template.name, plain.template.name) == ("model", "plain")
    assert own.template.sha256 != plain.template.sha256
