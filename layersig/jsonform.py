"""JSON that layersig writes: one spelling, and a form that it must have when it is read back.

Every record is written by `dumps`, so that equal results are equal bytes. A form is a `TypedDict` next to whatever
writes it, with the keys that readers rely on. Further keys are allowed.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, FiniteFloat, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from layersig.errors import UserError

Form = TypeVar("Form")
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A sha256 in hex digits."""
Number = int | FiniteFloat
"""A finite number as it was written."""


class Damaged(UserError):
    """A file that layersig wrote does not hold what it wrote.

    Args:
        where: The file, with the line where it has lines.
        why: What is wrong with it.
    """

    def __init__(self, where: str, why: str) -> None:
        super().__init__(where, why)  # all that it takes to make it anew in another process
        self.where = where
        self.why = why

    def __str__(self) -> str:
        return f"{self.where}: damaged ({self.why}); run the recipe again to have it rebuilt"


@with_config(ConfigDict(extra="allow"))
class Open(TypedDict):
    """A form whose values may have further keys."""


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON with one spelling: keys in the order given (layers stay in model order), shortest floats, no NaN.

    Raises:
        ValueError: The value holds NaN or an infinity.
    """
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)


def parse_json(raw: bytes, form: type[Form]) -> Form:
    """A JSON value of a form; keys that the form does not name are kept.

    Raises:
        ValueError: The bytes are no JSON of that form; one line says where and why.
    """
    try:
        value: Form = _adapter(cast(Hashable, form)).validate_json(raw, strict=True)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    return value


def first_fault(error: Exception) -> str:
    """Where a value is not as it must be, and why, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    what = first["msg"].replace("Input should", "must")
    return f"{place}: {what}" if place else what


def read_json(path: Path, form: type[Form]) -> Form:
    """The value of a JSON file that layersig wrote.

    Args:
        path: The file.
        form: What it must hold.

    Raises:
        Damaged: It holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        return parse_json(path.read_bytes(), form)
    except (ValueError, IsADirectoryError) as error:
        raise Damaged(str(path), str(error)) from error


def read_jsonl(path: Path, form: type[Form] = dict[str, Any]) -> Iterator[Form]:  # type: ignore[assignment]
    """The objects of a JSONL file that layersig wrote, one a line.

    Args:
        path: The file.
        form: What every line must hold.

    Raises:
        Damaged: A line holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        lines = path.open("rb")
    except IsADirectoryError as error:
        raise Damaged(str(path), str(error)) from error
    with lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_json(line, form)
            except ValueError as error:
                raise Damaged(f"{path}:{number}", str(error)) from error


def read_rows(path: Path, form: type[Form]) -> list[Form]:
    """All objects of a JSONL file that layersig wrote.

    One call of the parser for the whole file: a study has a million outcomes, and a call each takes minutes.

    Raises:
        Damaged: A line holds something else.
        OSError: There is no such file, or it cannot be read.
    """
    try:
        return parse_json(b"[" + path.read_bytes().rstrip(b"\n").replace(b"\n", b",") + b"]", list[form])  # type: ignore[valid-type]
    except (ValueError, IsADirectoryError):
        return list(read_jsonl(path, form))  # it names the line


@cache
def _adapter(form: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, form))


def jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSONL, in their order."""
    return "".join(dumps(row) + "\n" for row in rows)
