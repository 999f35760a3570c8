"""How errors in plugins are reported: as one line, or raised on request."""

from __future__ import annotations

import os

from layersig.errors import UserError


def raises_plugin_errors() -> bool:
    """Whether LAYERSIG_RAISE_PLUGIN_ERRORS=1 asks for a plugin's original error with its traceback."""
    return os.environ.get("LAYERSIG_RAISE_PLUGIN_ERRORS") == "1"


def cause(error: BaseException) -> str:
    """An error as one line: the message of a `LayersigError`, any other error with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
