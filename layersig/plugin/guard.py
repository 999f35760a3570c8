"""How the errors of other people's code are told: in one line, or raised on request."""

from __future__ import annotations

import os

from layersig.errors import UserError


def raises_plugin_errors() -> bool:
    """Whether LAYERSIG_RAISE_PLUGIN_ERRORS=1 asks for a plugin's own error with its traceback."""
    return os.environ.get("LAYERSIG_RAISE_PLUGIN_ERRORS") == "1"


def cause(error: BaseException) -> str:
    """An error in one line: a message of ours as it is, anything else with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
