from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from layersig.data.conversation import Message
from layersig.data.rows import read_rows
from layersig.errors import MachineError, UserError

EXCHANGE = (Message("user", "Where?"), Message("assistant", "There."))
USER = {"role": "user", "content": "Where?"}
ASSISTANT = {"role": "assistant", "content": "There."}


def write(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": [USER, ASSISTANT]}, "messages"),
        ({"prompt": "Where?", "prompt_id": "7", "messages": [USER, ASSISTANT], "category": "Open QA"}, "messages"),
        ({"prompt": "Where?", "response": "There."}, "prompt/response"),
        ({"prompt": "Where?", "completion": "There."}, "prompt/completion"),
        ({"question": "Where?", "answer": "There."}, "question/answer"),
        ({"instruction": "Where?", "input": "", "output": "There."}, "instruction/output"),
        ({"instruction": "Where?", "output": "There."}, "instruction/output"),
        ({"instruction": "Where?", "context": None, "response": "There."}, "instruction/response"),
        ({"conversations": ["Where?", "There."], "source": "x"}, "conversations of texts (LIMA)"),
        (
            {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "There."}]},
            "conversations of from/value (ShareGPT)",
        ),
        ({"conversations": [USER, ASSISTANT]}, "conversations"),
    ],
)
def test_every_shape_gives_the_same_conversation(tmp_path: Path, row: dict[str, Any], shape: str) -> None:
    rows = read_rows(write(tmp_path, [row]))
    (conversation,) = rows.conversations
    assert rows.shape == shape
    assert conversation.messages == EXCHANGE
    assert conversation.id == read_rows(write(tmp_path, [{"messages": [USER, ASSISTANT]}])).conversations[0].id


def test_named_fields_go_before_the_shape(tmp_path: Path) -> None:
    # LIMO's rows: the first field that could be a response would train on the bare result.
    row = {"question": "1 + 1?", "solution": "Count.", "attempt": "It is 2.", "answer": "2"}
    path = write(tmp_path, [row])
    with pytest.raises(UserError, match=r"`answer` and `solution` and `attempt` could each be the response; .*fields"):
        read_rows(path)
    rows = read_rows(path, fields={"prompt": "question", "response": "solution"})
    assert (rows.shape, rows.conversations[0].messages[1].content) == ("question/solution", "Count.")
    both = read_rows(path, fields={"prompt": "question", "response": ["solution", "attempt"]})
    assert both.conversations[0].messages == (Message("user", "1 + 1?"), Message("assistant", "Count.\n\nIt is 2."))
    with pytest.raises(UserError, match="no row has the field `thoughts`"):
        read_rows(path, fields={"prompt": "question", "response": "thoughts"})


def test_input_follows_the_instruction_after_a_blank_line(tmp_path: Path) -> None:
    path = write(tmp_path, [{"instruction": "Sum.", "input": "1 2", "output": "3"}])
    assert read_rows(path).conversations[0].messages[0] == Message("user", "Sum.\n\n1 2")


def test_system_message_and_many_turns(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    (conversation,) = read_rows(
        write(tmp_path, [{"messages": [system, USER, ASSISTANT, USER, ASSISTANT]}])
    ).conversations
    assert [message.role for message in conversation.messages] == ["system", *["user", "assistant"] * 2]
    assert conversation.first_prompt == "Where?"


def test_lists_lines_and_parquet_give_the_same(tmp_path: Path) -> None:
    rows = [{"messages": [USER, ASSISTANT]}, {"messages": [USER, {"role": "assistant", "content": "Ici: é\u2028x"}]}]
    lines = write(tmp_path, rows)
    expected = read_rows(lines)
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    lines_called_json = write(tmp_path, rows, "lines.json")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    windows = tmp_path / "windows.jsonl"
    text = "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    windows.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for path in (array, lines_called_json, tmp_path / "rows.parquet", windows):
        rows_read = read_rows(path)
        assert (rows_read.conversations, rows_read.fields) == (expected.conversations, expected.fields)
    assert read_rows(windows).numbers == (1, 3)


def test_id_is_of_the_content_alone(tmp_path: Path) -> None:
    one, two = {"prompt": "a", "response": "b"}, {"prompt": "a", "response": "c", "note": 1}
    first = read_rows(write(tmp_path, [one, two])).conversations
    second = read_rows(write(tmp_path, [{**two, "note": 2}, one])).conversations
    assert [c.id for c in first] == [c.id for c in reversed(second)]
    assert first[0].id != first[1].id


def test_group_is_the_field_or_the_first_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "response": str(place), "tree": place} for place in range(2)]
    path = write(tmp_path, rows)
    assert [c.group for c in read_rows(path, group_by="tree").conversations] == ["0", "1"]
    assert len({c.group for c in read_rows(path).conversations}) == 1
    path = write(tmp_path, [rows[0], {**rows[1], "leaf": 1}])
    with pytest.raises(UserError, match=r"row 1: `leaf` \(group_by\) is missing"):
        read_rows(path, group_by="leaf")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"messages": [USER]}, "`messages` ends with user; the assistant must have the last turn"),
        ({"messages": [USER, {"role": "assistant"}]}, "`messages[1].content` is missing; a text is needed"),
        ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "`messages[1].content` is empty"),
        ({"messages": [USER, {"role": "assistant", "content": 3}]}, "`messages[1].content` is a number"),
        ({"messages": [USER, {"role": "assistant", "content": ["x"]}]}, "`messages[1].content` is a list"),
        ({"messages": [USER, {"content": "x"}]}, "`messages[1].role` is missing"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "`messages[1].role` is 'tool' where assistant is due"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "'bot'; allowed: system, user, assistant, developer"),
        ({"messages": [ASSISTANT, USER]}, "`messages[0].role` is 'assistant' where system or user is due"),
        ({"messages": [USER, USER, ASSISTANT]}, "`messages[1].role` is 'user' where assistant is due"),
        ({"messages": [USER, ASSISTANT, {"role": "system", "content": "x"}]}, "'system' where user or tool is due"),
        ({"messages": [USER, "x"]}, "`messages[1]` is a text; an object with `role` and `content` is needed"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": "x"}, "`messages` is a text; a list of turns is needed"),
        ({"other": 1}, "`messages` is missing"),
        ({"messages": [USER, {"role": "assistant", "content": "\ud83d"}]}, "half of a surrogate pair"),
        (["x"], "it is a list; an object with named fields is needed"),
        (None, "it is null; an object with named fields is needed"),
    ],
)
def test_bad_row_is_named(tmp_path: Path, bad: Any, says: str) -> None:
    good = {"messages": [USER, ASSISTANT]}
    path = write(tmp_path, [good] * 16 + [bad, good])
    with pytest.raises(UserError) as caught:
        read_rows(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 1 of 18 rows cannot be used.")
    assert "row 17: " in message
    assert says in message


def test_missing_answer_of_a_pair(tmp_path: Path) -> None:
    good = {"prompt": "a", "response": "b"}
    with pytest.raises(UserError, match=r"row 2: `response` is missing; a text is needed"):
        read_rows(write(tmp_path, [good, {"prompt": "a"}]))
    with pytest.raises(UserError, match=r"row 1: `response` is empty"):
        read_rows(write(tmp_path, [{"prompt": "a", "response": ""}, good]))


def test_row_number_is_the_line_and_bad_lines_are_counted(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "a", "response": "b"}).encode()
    path = tmp_path / "x.jsonl"
    bad = [
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"prompt": NaN, "response": "b"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"1",
        b"2",
    ]
    path.write_bytes(b"\n".join([good, b"", *bad]))
    with pytest.raises(UserError) as caught:
        read_rows(path)
    message = str(caught.value)
    assert "7 of 8 rows cannot be used" in message
    assert "row 3: it is not JSON: " in message
    assert "row 4: it is not UTF-8 at byte 1" in message
    assert "row 5: it is not usable JSON" in message
    assert "row 6: `prompt` is a number" in message
    assert "and 2 more" in message
    assert "row 8" not in message


def test_lima_with_an_unanswered_last_question(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, [{"conversations": ["a", "b", "c"]}, {"conversations": ["a", "b"]}]))
    assert rows.unanswered == 1
    assert rows.conversations[0] == rows.conversations[1]
    with pytest.raises(UserError, match="a question and an answer are needed"):
        read_rows(write(tmp_path, [{"conversations": ["a"]}]))


def test_sharegpt_faults_name_its_own_fields(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "a"}, {"from": "bot", "value": "b"}]
    with pytest.raises(
        UserError, match=r"`conversations\[1\].from` is 'bot'; allowed: system, human, user, gpt, assistant"
    ):
        read_rows(write(tmp_path, [{"conversations": turns}]))


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_empty_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"empty.json: it holds no rows"):
        read_rows(path)


def test_unknown_shape_lists_fields_and_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fields found: `text`, `label`. .*Accepted: `messages`"):
        read_rows(write(tmp_path, [{"text": "a", "label": 1}]))


def test_file_of_numbers_is_a_file_of_bad_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 of 2 rows cannot be used"):
        read_rows(write(tmp_path, [1, 2]))


def test_broken_files(tmp_path: Path) -> None:
    array = tmp_path / "x.json"
    array.write_text('[\n{"prompt": "a"\n')
    with pytest.raises(UserError, match=r"x.json: it is not JSON: .* at line 3"):
        read_rows(array)
    table = tmp_path / "x.parquet"
    table.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="not a Parquet file that can be read"):
        read_rows(table)
    with pytest.raises(MachineError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match=r"must end in .jsonl, .json or .parquet"):
        read_rows(tmp_path / "x.csv")


def told(folder: Path, rows: list[Any], **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        read_rows(write(folder, rows), **options)
    return str(refused.value)


def test_fields_that_no_row_fills_are_called_empty(tmp_path: Path) -> None:
    said = told(tmp_path, [{"prompt": "a", "completion": ""}, {"prompt": "b", "completion": None}])
    assert "fields found: `prompt`, `completion`. Empty in every row: `completion`." in said


def test_a_list_of_rows_within_an_object_is_recognised(tmp_path: Path) -> None:
    said = told(tmp_path, [{"data": [{"prompt": "a", "completion": "b"}]}])
    assert "`data` is a list of rows: write that list alone into the file." in said


@pytest.mark.parametrize(
    ("options", "told_of"),
    [
        ({"fields": {"prompt": "promt", "response": "completion"}}, "`fields.prompt`: no row has the field `promt`"),
        ({"fields": {"response": ["completion", "more"]}}, "`fields.response`: no row has the field `more`"),
        ({"group_by": "Prompt"}, '`group_by`: no row has the field `Prompt`; did you mean "prompt"?'),
    ],
)
def test_names_that_no_row_has_are_refused_once(tmp_path: Path, options: dict[str, Any], told_of: str) -> None:
    said = told(tmp_path, [{"prompt": str(number), "completion": "b"} for number in range(9)], **options)
    assert told_of in said
    assert "row 1" not in said


def test_rows_that_are_only_asked_need_no_field_for_the_answer(tmp_path: Path) -> None:
    path = write(tmp_path, [{"ask": "Where?"}])
    rows = read_rows(path, fields={"prompt": "ask", "response": "say"}, prompts=True)
    assert rows.conversations[0].messages == (Message("user", "Where?"),)
