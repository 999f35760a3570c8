"""Read the text and the raw values of a recipe, before anything is checked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from layersig.errors import UserError
from layersig.recipe.nesting import out_of_bounds

_LARGEST = 1 << 20


class RecipeText(NamedTuple):
    """The text and the values of a TOML file."""

    text: str
    values: dict[str, Any]


def read(path: Path) -> RecipeText:
    """Text and values of a TOML file.

    Raises:
        UserError: It is missing, a folder, unreadable, too large, nested too deeply, not UTF-8, or not TOML. The
            message has the line and, for syntax errors, the column.
    """
    text = _text(path)
    if (found := out_of_bounds(text)) is not None:
        line, what = found
        raise UserError(f"{path}:{line}: {what}")
    try:
        return RecipeText(text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        hint = "" if path.suffix == ".toml" else "; recipes are TOML: `layersig init` writes one for your data"
        raise UserError(f"{_syntax(path, text, str(error))}{hint}") from None


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name the recipe file in it{_recipes_in(path)}")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"there is no recipe {path}{_recipes_in(path.parent)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > _LARGEST:
        line = content.count(b"\n") + 1
        raise UserError(f"{path}:{line}: the file is larger than 1 MiB and cannot be a recipe")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: the file is not UTF-8 text (byte {content[error.start]:#04x})") from None


_HINTS = {
    "Invalid value": "; texts need quotes",
    "Expected '=' after a key": "; a recipe has lines such as `seeds = [0]` and tables such as `[model]`",
}
"""What the parser's messages most often mean."""


def _recipes_in(folder: Path) -> str:
    names = sorted(found.name for found in folder.glob("*.toml"))[:5] if folder.is_dir() else []
    return f"; in {folder} there are: {', '.join(names)}" if names else ""


def _syntax(path: Path, text: str, message: str) -> str:
    said, place = message, re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return f"{path}: not valid TOML: {said}"
    said = message[: place.start()]
    line, column = place.groups()
    if line is None:
        line, column = str(text.count("\n") + 1), str(len(text) - text.rfind("\n"))
    # The parser's "overwriting" or "redeclaring" is nearly always a key or a table that is given twice.
    if said.startswith("Cannot overwrite a value") or "declare" in said:
        said = f"a key or table is given twice ({said[0].lower()}{said[1:]})"
    hint = next((hint for start, hint in _HINTS.items() if said.startswith(start)), "")
    return f"{path}:{line}:{column}: not valid TOML: {said}{hint}"
