"""Reads JSON objects that others wrote: whatever is wrong with one is a single message that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layersig.errors import UserError

_DEEPEST = 64
"""Levels of nesting; no file of a model has ten, and libraries that copy a value recursively fail at some hundreds."""


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: The file is missing, is no JSON, holds something else than an object, or is nested too deeply.
    """
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except RecursionError:
        raise _too_deep(file) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}); fetch or save it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{file}: is not a JSON object; fetch or save it again")
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        level = [each for each in level if isinstance(each, dict | list)]
    if level:
        raise _too_deep(file)
    return value


def _too_deep(file: Path) -> UserError:
    return UserError(f"{file}: is nested more than {_DEEPEST} levels deep, as no such file is; fetch or save it again")
