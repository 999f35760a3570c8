"""The rows of a data file, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from layersig.data.values import RowError
from layersig.errors import MachineError, UserError, machine_error


class Row(NamedTuple):
    """A row and its 1-based number (the line in JSON Lines); what is no JSON has a `RowError` for a value."""

    number: int
    value: Any


def raw_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file, whatever they hold.

    Raises:
        UserError: The file is of another format, or is damaged as a whole.
        MachineError: The file cannot be read, or Parquet support is not installed.
    """
    if path.suffix not in (".jsonl", ".json", ".parquet"):
        raise UserError(
            f"{path}: a data file must end in .jsonl, .json or .parquet. pandas converts others: "
            '`read_csv("X.csv").to_json("X.jsonl", orient="records", lines=True)`.'
        )
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
    except RecursionError:
        return RowError("it is not usable JSON: nested too deeply")
    except ValueError as error:
        return RowError(f"it is not usable JSON: {error}")


def _parquet_rows(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MachineError(f"{path}: reading Parquet needs the package pyarrow; install it.") from error
    try:
        values = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError, ValueError, TypeError, RecursionError, OverflowError) as error:
        # Arrow calls a damaged page an OSError too; one of the operating system has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise machine_error(error) from error
        said = " ".join(str(error).rpartition("': ")[2].split()).rstrip(".")
        raise UserError(f"{path}: it is not a Parquet file that can be read ({said}). Write it again.") from error
    # A column of objects has the keys of all rows in each of them; those that a row does not have are null.
    return [Row(number, _without_nulls(value)) for number, value in enumerate(values, start=1)]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
