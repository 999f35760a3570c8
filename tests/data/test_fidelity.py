"""What goes into a chat template is compared with what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layersig.data.chat import ChatFormat
from layersig.data.conversation import Conversation, Message, content_id
from layersig.data.encoding import encode
from layersig.data.stage import prepare
from layersig.errors import UserError
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.stages.kinds import Data
from layersig.streams import Streams
from tests.data import chats
from tests.data.chats import merging_tokenizer
from tests.data.test_chat import spans
from tests.data.test_stage import PARAMS, Notes

CALL = {"name": "weather", "arguments": {"town": "Oslo"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = Message("user", "Where is Rome?")
ANSWER = Message("assistant", "In Italy.")

# Cuts what stands before the end of a thought, of every answer.
CUTTING = chats.REWRITING.replace(" and not loop.last", "")
# Keeps the first line of an answer.
FIRST_LINE = chats.CHATML.replace("{{ m.content }}", "{{ m.content.split('\n')[0] }}")
CORRECTING = chats.CHATML.replace("{{ m.content }}", "{{ m.content | replace('Italy', 'France') }}")
# As templates of models that call tools and think: arguments are an object.
RICH = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}"
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}</call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Arguments are text, and a turn that only calls has no content.
TEXTUAL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is not defined %}"
    "{% for c in m.tool_calls %}{{ c.function.name + ' ' + c.function.arguments }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def talk(*messages: Message, tools: tuple[dict[str, Any], ...] = ()) -> Conversation:
    return Conversation(content_id(messages, tools), "g", messages, tools)


@pytest.mark.parametrize(
    ("template", "messages", "tools", "parts"),
    [
        (CUTTING, (ASKED, Message("assistant", "<think>\nHm.\n</think>\n\nIn Italy.")), (), {"answers"}),
        (FIRST_LINE, (ASKED, Message("assistant", "In Italy.\nI think.")), (), {"answers"}),
        (FIRST_LINE, (Message("user", "Where\nis Rome?"), ANSWER), (), {"questions"}),
        (CORRECTING, (ASKED, ANSWER), (), {"answers"}),
        (chats.CHATML, (ASKED, ANSWER._replace(reasoning="Hm.")), (), {"reasoning"}),
        (chats.CHATML, (ASKED, ANSWER._replace(calls=(CALL,))), (), {"tool calls"}),
        (chats.CHATML, (ASKED, ANSWER), (TOOL,), {"tools"}),
        (CUTTING, (ASKED, ANSWER), (), set()),
        (chats.HEADERS, (ASKED, Message("assistant", " In Italy.\n")), (), set()),
        (chats.MARKED, (Message("system", "Be brief."), ASKED, ANSWER), (), set()),
        (chats.THOUGHT_OPENING, (ASKED, Message("assistant", "<think>\nHm.\n</think>\n\nIn Italy.")), (), set()),
        (RICH, (ASKED, ANSWER._replace(reasoning="Hm.", calls=(CALL,))), (TOOL,), set()),
        # Thoughts of earlier turns are cut when the model is used, too; those turns are not learnt.
        (chats.REWRITING, (ASKED, Message("assistant", "<think>Hm.</think>Yes."), ASKED, ANSWER), (), set()),
    ],
)
def test_parts_that_a_template_takes_away_are_counted(
    template: str, messages: tuple[Message, ...], tools: tuple[dict[str, Any], ...], parts: set[str]
) -> None:
    encoded = encode(ChatFormat(merging_tokenizer(template)), [talk(*messages, tools=tools)], 1000)
    assert set(encoded.rewritten_parts) == parts
    assert encoded.rewritten == bool(parts)


def test_reasoning_calls_and_tools_reach_a_template_that_renders_them() -> None:
    chat = ChatFormat(merging_tokenizer(RICH))
    called = Message("assistant", "", reasoning="I ask.", calls=(CALL,))
    told = Message("tool", "rain", tags={"name": "weather"})
    (example,) = encode(chat, [talk(ASKED, called, told, ANSWER, tools=(TOOL,))], 1000).examples
    assert spans(chat, example) == [
        "<think>\nI ask.\n</think>\n\n<call>weather town=Oslo</call><|im_end|>",
        "In Italy.<|im_end|>",
    ]
    assert '"name": "weather"' in chat.tokenizer.decode(example.tokens)


def test_calls_take_the_form_that_a_template_wants() -> None:
    chat = ChatFormat(merging_tokenizer(TEXTUAL))
    (example,) = encode(chat, [talk(ASKED, Message("assistant", "", calls=(CALL,)))], 1000).examples
    assert spans(chat, example) == ['weather {"town": "Oslo"}<|im_end|>']


@pytest.mark.parametrize("template", [chats.CHATML, chats.MARKED, chats.BRACKETS])
def test_a_turn_that_is_not_learnt_is_context_only(template: str) -> None:
    chat = ChatFormat(merging_tokenizer(template))
    whole = talk(ASKED, ANSWER, Message("user", "And Oslo?"), Message("assistant", "In Norway."))
    marked = talk(ASKED, ANSWER._replace(trained=False), *whole.messages[2:])
    (every,), (last,) = (encode(chat, [each], 1000).examples for each in (whole, marked))
    assert np.array_equal(every.tokens, last.tokens)
    assert [text.strip().split(".")[0] for text in spans(chat, last)] == ["In Norway"]
    assert not (last.targets & ~every.targets).any()


def prepared(folder: Path, template: str, thoughtful: int, **params: Any) -> Job:
    rows = []
    for place in range(20):
        thought = "<think>\nHm.\n</think>\n\n" if place < thoughtful else ""
        rows.append({"prompt": f"Is {place} odd?", "response": f"{thought}It is."})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    merging_tokenizer(template).save_pretrained(folder / "model")
    (folder / "out").mkdir()
    inputs = {"model": folder / "model", "rows": folder / "rows.jsonl"}
    job = Job(
        Cell(data="x"),
        Data.of(**{**PARAMS, **params}),
        inputs,
        folder / "out",
        folder,
        Streams(0, None),
        reporter=Notes(),
    )
    prepare(job)
    return job


def test_a_template_that_removes_targets_is_refused_beyond_the_share_of_the_recipe(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"parts of 2 of 20 conversations, such as that of row \d+: answers \(2\)"):
        prepared(tmp_path / "a", CUTTING, 2, max_rewritten=0.05)
    job = prepared(tmp_path / "b", CUTTING, 2, max_rewritten=0.1)
    assert isinstance(job.reporter, Notes)
    assert [note.partition(",")[0] for note in job.reporter.warnings] == [
        "The chat template (model) changes or leaves out parts of 2 of 20 conversations"
    ]
    sides = json.loads((job.out / "report.json").read_text())
    assert sum(sides[side]["rewritten"] for side in ("train", "heldout")) == 2
    assert sum(sides[side]["rewritten_parts"].get("answers", 0) for side in ("train", "heldout")) == 2
    kept = prepared(tmp_path / "c", chats.CHATML, 20)
    assert isinstance(kept.reporter, Notes)
    assert kept.reporter.warnings == []


def test_a_conversation_that_cannot_be_rendered_is_named_by_its_row(tmp_path: Path) -> None:
    picky = chats.CHATML.replace(
        "{{ m.role }}\n", "{{ m.role }}\n{% if '7' in m.content %}{{ raise_exception('no') }}{% endif %}"
    )
    with pytest.raises(UserError, match=r"rows.jsonl: row 1?8: chat template"):
        prepared(tmp_path, picky, 0)
