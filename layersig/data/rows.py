"""Raw rows to conversations.

A file is JSON Lines, a JSON list, or Parquet. Its shape is found from its first row that has one and holds for the
whole file; a row that does not fit is an error, never skipped in silence. Text is data: it is never interpreted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from layersig.data.conversation import Conversation, Message, content_id
from layersig.data.shapes import ACCEPTED, RowError, detect_shape, kind, named_fields
from layersig.errors import MachineError, UserError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file holds.

    Attributes:
        conversations: One per row, in file order.
        shape: The shape that was found, such as `messages`.
        unanswered: Conversations whose last turn, a question without an answer, was cut off. LIMA's lists do not name
            the speaker and one of them is of odd length; in every other shape such a row is an error.
    """

    conversations: tuple[Conversation, ...]
    shape: str
    unanswered: int


class Row(NamedTuple):
    """A row and its 1-based number (the line in JSON Lines); what is no JSON has a `RowError` for a value."""

    number: int
    value: Any


def read_rows(
    path: Path, *, group_by: str | None = None, fields: Mapping[str, Any] | None = None, prompts: bool = False
) -> Rows:
    """Read a `.jsonl`, `.json` (a list, or lines) or `.parquet` file.

    Args:
        path: The file.
        group_by: Field whose equal values must not straddle a split; it labels a conversation's group. Without it the
            label is a hash of the first prompt.
        fields: `prompt` and `response` (one or several), names of fields; without it the shape is found.
        prompts: Rows are only asked, and need no answer; what they end with is kept.

    Raises:
        UserError: The file is empty, is of no known shape, or has rows that cannot be used; those are all counted and
            the first few named by row, field and what is allowed.
        MachineError: The file cannot be read, or Parquet support is not installed.
    """
    rows = raw_rows(path)
    if not rows:
        raise UserError(f"{path}: it holds no rows; one conversation a row is needed.")
    objects = [row.value for row in rows if isinstance(row.value, dict)]
    shape = next((found for row in objects if (found := detect_shape(row, prompts=prompts)) is not None), None)
    if fields is not None:
        response = fields["response"]
        shape = named_fields(fields["prompt"], [response] if isinstance(response, str) else response)
    if shape is None and objects:
        there = ", ".join(f"`{field}`" for field in objects[0]) or "none"
        raise UserError(f"{path}: rows of no known shape; fields found: {there}. Accepted: {ACCEPTED}.")
    conversations: list[Conversation] = []
    unanswered = 0
    faults: list[tuple[int, RowError]] = []
    for number, value in rows:
        try:
            if isinstance(value, RowError):
                raise value
            if shape is None or not isinstance(value, dict):
                raise RowError(f"it is {kind(value)}; an object with named fields is needed")
            messages = shape.read(value)
            if messages[-1].role == "user" and not prompts:
                messages = messages[:-1]
                unanswered += 1
            conversations.append(_conversation(messages, value, group_by))
        except RowError as fault:
            faults.append((number, fault))
    if shape is None or faults:
        raise UserError(complaint(path, faults, len(rows)))
    return Rows(tuple(conversations), shape.name, unanswered)


def _conversation(messages: tuple[Message, ...], row: Mapping[str, Any], group_by: str | None) -> Conversation:
    conversation = Conversation(content_id(messages), "", messages)
    if group_by is None:
        return conversation._replace(group=content_id((Message("user", conversation.first_prompt),)))
    label = row.get(group_by)
    if not isinstance(label, str | int):
        found = "missing" if label is None else kind(label)
        raise RowError(f"`{group_by}` (group_by) is {found}; a text or an integer is needed")
    return conversation._replace(group=str(label))


def complaint(path: Path, faults: Sequence[tuple[int, RowError]], count: int) -> str:
    """One message for all rows that cannot be used: how many, and the first few by number."""
    shown = "".join(f"\n  row {number}: {fault}" for number, fault in faults[:_SHOWN])
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{path}: {len(faults)} of {count} rows cannot be used. Mend or delete them.{shown}{more}"


def raw_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file, whatever they hold.

    Raises:
        UserError: The file is of another format, or is damaged as a whole.
        MachineError: The file cannot be read, or Parquet support is not installed.
    """
    if path.suffix not in (".jsonl", ".json", ".parquet"):
        raise UserError(f"{path}: a data file must end in .jsonl, .json or .parquet.")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    try:
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise MachineError(f"{path}: cannot be read: {error.strerror}.") from error
    if path.suffix == ".json" and raw.lstrip()[:1] == b"[":
        values = _parsed(raw)
        if isinstance(values, RowError):
            raise UserError(f"{path}: {values}.")
        return [Row(number, value) for number, value in enumerate(values, start=1)]
    # Split as bytes: a text may hold line separators of Unicode unescaped.
    return [Row(number, _parsed(line)) for number, line in enumerate(raw.splitlines(), start=1) if line.strip()]


def _parsed(raw: bytes) -> Any:
    """The JSON value, or the `RowError` that keeps it from being one."""
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowError(f"it is not UTF-8 at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return RowError(f"it is not JSON: {error.msg} at {place}")
    except (ValueError, RecursionError) as error:
        return RowError(f"it is not usable JSON: {error}")


def _parquet_rows(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MachineError(f"{path}: reading Parquet needs the package pyarrow; install it.") from error
    try:
        values = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        # Arrow calls a damaged page an OSError too; one of the operating system has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise MachineError(f"{path}: cannot be read: {error.strerror}.") from error
        said = " ".join(str(error).rpartition("': ")[2].split()).rstrip(".")
        raise UserError(f"{path}: it is not a Parquet file that can be read ({said}). Write it again.") from error
    return [Row(number, value) for number, value in enumerate(values, start=1)]
