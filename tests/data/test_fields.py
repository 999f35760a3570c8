"""What rows hold is used, or the user hears of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from layersig.data.conversation import Message
from layersig.data.rows import read_rows
from layersig.errors import UserError
from tests.data.turns import ASKED, ASSISTANT, PAIR, TURNS, USER, read, said

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}}
CALLED = {"id": "c1", "name": "weather", "arguments": {"town": "Oslo"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"system": "Be brief.", **PAIR}, [("system", "Be brief."), *ASKED]),
        ({"system_prompt": "Be brief.", "question": "Where?", "response": "There."}, [("system", "Be brief."), *ASKED]),
        ({"System Message": "Be brief.", "Question": "Where?", "Answer": "There."}, [("system", "Be brief."), *ASKED]),
        ({"system": "Be brief.", **TURNS}, [("system", "Be brief."), *ASKED]),
        (
            {"system": "Be brief.", "instruction": "Where?", "input": "", "output": "There."},
            [("system", "Be brief."), *ASKED],
        ),
        ({"context": "Here.", "question": "Where?", "answer": "There."}, [("user", "Where?\n\nHere."), ASKED[1]]),
        ({"passage": "Here.", **PAIR}, [("user", "Where?\n\nHere."), ASKED[1]]),
        ({"instruction": "Where?", "input": "Here.", "response": "There."}, [("user", "Where?\n\nHere."), ASKED[1]]),
        ({"query": "Where?", "answer": "There."}, ASKED),
        ({"input": "Where?", "output": "There."}, ASKED),
        ({"problem": "Where?", "solution": "There."}, ASKED),
        ({"question": "Where?", "answer": ["There."]}, ASKED),
        ({**PAIR, "negative": "No."}, ASKED),
        ({**PAIR, "quality": 0}, ASKED),
        ({"prompt": [USER], "completion": [ASSISTANT]}, ASKED),
        ({"prompt": "Where?", "completion": [ASSISTANT]}, ASKED),
        ({"prompt": [USER], "response": "There."}, ASKED),
        ({"prompt": "Where?", "chosen": "There.", "rejected": "Nowhere."}, ASKED),
        ({"prompt": "Where?", "chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]}, ASKED),
        ({"messages": json.dumps([USER, ASSISTANT])}, ASKED),
        ({"conversation": [{"input": "Where?", "output": "There."}]}, ASKED),
        ({"history": [["Hi.", "Hello."]], **PAIR}, [("user", "Hi."), ("assistant", "Hello."), *ASKED]),
        (
            {"messages": [{"role": "developer", "content": "Be brief."}, USER, ASSISTANT]},
            [("system", "Be brief."), *ASKED],
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "developer", "content": "Be kind."},
                    USER,
                    ASSISTANT,
                ]
            },
            [("system", "Be brief.\n\nBe kind."), *ASKED],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Where"}, {"type": "text", "text": "now?"}]},
                    ASSISTANT,
                ]
            },
            [("user", "Where\nnow?"), ASKED[1]],
        ),
    ],
)
def test_known_fields_are_used(tmp_path: Path, row: dict[str, Any], turns: list[tuple[str, str]]) -> None:
    rows = read(tmp_path, row)
    assert said(rows) == turns
    assert not [field for field in rows.fields if field.use in ("unknown", "not used")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {**ASSISTANT, "reasoning_content": "I look."}]},
        {"messages": [USER, {**ASSISTANT, "thinking": "I look."}]},
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "I look."}, {"type": "text", "text": "There."}],
                },
            ]
        },
        {**PAIR, "reasoning": "I look."},
        {"question": "Where?", "Complex_CoT": "I look.", "response": "There."},
        {**PAIR, "thinking_trajectories": ["I look."]},
        {**TURNS, "reasoning_content": "I look."},
    ],
)
def test_reasoning_is_kept_apart_from_the_answer(tmp_path: Path, row: dict[str, Any]) -> None:
    (conversation,) = read(tmp_path, row).conversations
    assert conversation.messages[-1] == Message("assistant", "There.", reasoning="I look.")
    assert conversation.id != read(tmp_path, TURNS).conversations[0].id
    assert "I look." in conversation.text


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", **CALL["function"]}]}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": json.dumps([CALL])}]},
        {
            "conversations": [
                {"from": "human", "value": "Where?"},
                {"from": "function_call", "value": json.dumps(CALLED)},
            ]
        },
        {"query": "Where?", "answers": json.dumps([CALLED]), "tools": json.dumps([TOOL["function"]])},
    ],
)
def test_calls_of_tools_are_read_from_all_their_forms(tmp_path: Path, row: dict[str, Any]) -> None:
    (conversation,) = read(tmp_path, row).conversations
    assert conversation.messages[-1] == Message("assistant", "", calls=(CALLED,))
    assert not row.get("tools") or conversation.tools[0]["function"]["name"] == "weather"


def test_results_of_tools_stand_between_assistant_turns(tmp_path: Path) -> None:
    turns = [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
        ASSISTANT,
    ]
    sharegpt = [
        {"from": "human", "value": "Where?"},
        {"from": "function_call", "value": json.dumps(CALLED)},
        {"from": "observation", "value": "rain"},
        {"from": "gpt", "value": "There."},
    ]
    for row in ({"messages": turns}, {"conversations": sharegpt}):
        rows = read(tmp_path, row)
        assert [role for role, _ in said(rows)] == ["user", "assistant", "tool", "assistant"]
        assert rows.conversations[0].row()["messages"][2]["content"] == "rain"


@pytest.mark.parametrize("mark", [{"train": False}, {"weight": 0}, {"loss": 0.0}, {"loss_mask": "0"}, {"masked": True}])
def test_a_turn_can_be_marked_as_not_to_be_learnt(tmp_path: Path, mark: dict[str, Any]) -> None:
    first = {"role": "assistant", "content": "Here.", **mark}
    (conversation,) = read(tmp_path, {"messages": [USER, first, USER, ASSISTANT]}).conversations
    assert [message.trained for message in conversation.messages] == [True, False, True, True]
    plain = read(tmp_path, {"messages": [USER, {**first, **dict.fromkeys(mark)}, USER, ASSISTANT]})
    assert conversation.id != plain.conversations[0].id


@pytest.mark.parametrize(
    ("mark", "field"),
    [
        ({"label": False}, "label"),
        ({"kto_tag": "rejected"}, "kto_tag"),
        ({"weight": 0}, "weight"),
        ({"is_correct": False}, "is_correct"),
        ({"isCorrect": False}, "isCorrect"),
        ({"rejected": True}, "rejected"),
        ({"chosen": False}, "chosen"),
        ({"is_bad": 1}, "is_bad"),
        ({"preference": "rejected"}, "preference"),
        ({"quality": "bad"}, "quality"),
        ({"feedback": "negative"}, "feedback"),
        ({"messages": [USER, {**ASSISTANT, "train": False}]}, "messages[].train"),
    ],
)
def test_an_unwanted_row_is_left_out_and_counted(tmp_path: Path, mark: dict[str, Any], field: str) -> None:
    bad = mark if "messages" in mark else {"prompt": "Why?", "response": "So.", **mark}
    rows = read(tmp_path, PAIR, bad)
    assert said(rows) == ASKED
    assert rows.unwanted == {field: 1}
    assert rows.total == 2
    assert rows.notes() == [f"1 of 2 rows are left out: `{field}` marks them as not to be learnt."]
    with pytest.raises(UserError, match=r"marks every row as not to be learnt; .*fields.ignore"):
        read(tmp_path, bad)
    if "messages" not in bad:
        assert len(read(tmp_path, bad, fields={"ignore": [field]}).conversations) == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**PAIR, "weight": 0.5}, "`weight` is 0.5; it marks what is learnt, so 1 or 0"),
        ({**PAIR, "label": "Open QA"}, '`label` is a text; .*`fields.ignore = \\["label"\\]`'),
        ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "`messages\\[1\\].weight` is 2; "),
        ({**PAIR, "mask": [1, 0]}, "`mask` cannot be used \\(unsupported mask\\)"),
        (
            {"messages": [USER, {**ASSISTANT, "train_detail": []}, USER, {**ASSISTANT, "train_detail": [1]}]},
            "train_detail` cannot",
        ),
        ({**PAIR, "answer": "Elsewhere."}, "`response` and `answer` could each be the response; name the fields"),
        ({"question": "Where?", **PAIR}, None),
        ({"question": "Why?", **PAIR}, "`prompt` and `question` could each be the prompt"),
        ({**PAIR, "choices": ["a", "b"]}, "`choices` cannot be used \\(part of the question\\)"),
        ({**TURNS, "images": ["x.png"]}, "`images` cannot be used"),
        (
            {"system": "Be kind.", "messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]},
            "two different system messages",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ASSISTANT]},
            "of type 'image_url'; pictures",
        ),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {}}]}]}, "is no call of a tool"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "arguments` is a text; an object",
        ),
        ({**PAIR, "tools": "x"}, "`tools` is a text; a list of tools"),
        ({**PAIR, "context": {"a": 1}}, "`context` is an object; a text is needed"),
        ({"text": "### Human: Where? ### Assistant: There."}, "already rendered, .*write its turns as `messages`"),
        ({"chosen": "Human: Where? Assistant: There.", "rejected": "x"}, "`chosen` without `prompt`"),
    ],
)
def test_what_would_change_targets_is_refused_where_it_cannot_be_honoured(
    tmp_path: Path, row: dict[str, Any], says: str | None
) -> None:
    if says is None:
        assert said(read(tmp_path, row)) == ASKED
        return
    with pytest.raises(UserError, match=says) as caught:
        read(tmp_path, row)
    assert str(caught.value).startswith(str(tmp_path / "rows.jsonl"))


def test_no_row_decides_for_the_others(tmp_path: Path) -> None:
    rows = read(tmp_path, PAIR, {**PAIR, "prompt": "Why?", "system": "Be brief."}, {"messages": [USER, ASSISTANT]})
    assert [conversation.messages[0].role for conversation in rows.conversations] == ["user", "system", "user"]
    assert rows.shape == "prompt/response, messages"
    with pytest.raises(UserError, match="row 2: `response` is missing"):
        read(tmp_path, PAIR, {"prompt": "Why?"})


@pytest.mark.parametrize(
    "response", ['["Apple"]', "[42]", '[{"from": "Oslo", "to": "Rome"}]', '{"role": "chair"}', '[{"role": ["user"]}]']
)
def test_an_answer_or_a_thought_in_json_keeps_its_brackets(tmp_path: Path, response: str) -> None:
    assert said(read(tmp_path, {"prompt": "Where?", "output": response})) == [ASKED[0], ("assistant", response)]
    assert said(read(tmp_path, {"prompt": response, "output": "There."})) == [("user", response), ASKED[1]]
    thinking = read(tmp_path, {**PAIR, "reasoning": response})
    assert thinking.conversations[0].messages[-1].reasoning == response


@pytest.mark.parametrize("answer", [ASSISTANT["content"], [ASSISTANT], json.dumps([ASSISTANT])])
def test_answers_within_the_prompt_are_context_where_there_is_a_response(tmp_path: Path, answer: Any) -> None:
    opening = [USER, {"role": "assistant", "content": "Here."}, USER]
    for prompt in (opening, json.dumps(opening)):
        (found,) = read(tmp_path, {"prompt": prompt, "completion": answer}).conversations
        assert [message.trained for message in found.messages] == [True, False, True, True]
    (earlier,) = read(tmp_path, {"history": [["Hi.", "Hello."]], **PAIR}).conversations
    assert all(message.trained for message in earlier.messages)
    (asked,) = read(tmp_path, {"prompt": opening}, prompts=True).conversations
    assert all(message.trained for message in asked.messages)


@pytest.mark.parametrize(
    ("name", "value"),
    [("label", 0), ("label", 0.0), ("label", "negative"), ("correct", 0), ("correct", "no"), ("incorrect", "yes")],
)
def test_a_class_is_not_taken_for_a_mark(tmp_path: Path, name: str, value: Any) -> None:
    row = {"prompt": "Good film?", "completion": "Not at all.", name: value}
    with pytest.raises(UserError, match=f"`{name}` is {value!r}, which may mark .*write true or false if it is a mark"):
        read(tmp_path, PAIR, row)
    assert len(read(tmp_path, PAIR, row, fields={"ignore": [name]}).conversations) == 2
    assert len(read(tmp_path, row, prompts=True).conversations) == 1
    turn = {"messages": [USER, {**ASSISTANT, name: value}, USER, ASSISTANT]}
    with pytest.raises(UserError, match=rf"`messages\[1\].{name}` is {value!r}, which .*`fields.ignore = \[.messages"):
        read(tmp_path, turn)


@pytest.mark.parametrize("name", ["label", "correct", "verdict", "kto_tag"])
def test_a_class_that_is_the_answer_marks_nothing(tmp_path: Path, name: str) -> None:
    rows = read(tmp_path, *({"prompt": "Film?", "completion": said, name: said} for said in ("positive", "negative")))
    assert len(rows.conversations) == 2
    assert rows.unwanted == {}


def test_a_column_of_objects_has_no_keys_that_a_row_lacks(tmp_path: Path) -> None:
    rows = [
        {"messages": [USER, {**ASSISTANT, "train": True}], "tools": [TOOL]},
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}], "tools": None},
    ]
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    first, second = read_rows(path).conversations
    assert (first.tools, second.tools) == ((TOOL,), ())
    assert all(message.trained for message in first.messages)


def test_named_fields_keep_the_meaning_of_the_others(tmp_path: Path) -> None:
    row = {"ask": "Where?", "say": "There.", "rules": "Be brief.", "facts": "Here.", "answer": "Elsewhere."}
    fields = {"prompt": "ask", "response": "say", "system": "rules", "context": "facts"}
    rows = read(tmp_path, row, fields=fields)
    assert said(rows) == [("system", "Be brief."), ("user", "Where?\n\nHere."), ("assistant", "There.")]
    assert rows.notes() == []
    assert {field.use for field in rows.fields if field.field == "answer"} == {
        "not used: the recipe names another field"
    }
    turns = read(tmp_path, {"log": [USER, ASSISTANT], "messages": [USER]}, fields={"messages": "log"})
    assert said(turns) == ASKED


def test_a_conversation_survives_its_row(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "I ask.", "train": False}
    turns = [USER, call, {"role": "tool", "content": "rain", "name": "weather"}, ASSISTANT]
    (conversation,) = read(tmp_path, {"messages": turns, "tools": [TOOL]}).conversations
    assert read(tmp_path, conversation.row()).conversations == (conversation,)
