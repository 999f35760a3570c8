"""The chat template of a recipe: its file is read once, and the resolved recipe contains the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layersig.recipe.faults import Fault, shown

_KEY = ("model", "chat_template")
_NAMES = ("auto", "plain")


def inline_template(data: dict[str, Any], base_dir: Path) -> list[Fault]:
    """In `data`, replace the `file:` of a template by its text.

    Args:
        data: The recipe as read. A value with a `{` is a template already, as in a resolved recipe.
        base_dir: Folder of the recipe.
    """
    model = data.get("model")
    choice = model.get("chat_template") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(choice, str) or choice in _NAMES or "{" in choice:
        return []
    scheme, _, name = choice.partition(":")
    if scheme != "file":
        return [Fault(_KEY, f'must be "auto", "plain" or "file:X.jinja"; got {shown(choice)}')]
    path = (base_dir / Path(name).expanduser()).resolve()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [Fault(_KEY, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")]
    if "{" not in text:
        return [Fault(_KEY, f"{path} is not a chat template: it has no Jinja expression; name a Jinja file")]
    model["chat_template"] = text
    return []
