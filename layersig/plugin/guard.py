"""How errors in plugins are reported: as one line with the place, or raised on request."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_tb

from layersig.errors import UserError
from layersig.plugin.components import BUILT_IN, Component


def raises_plugin_errors() -> bool:
    """Whether LAYERSIG_RAISE_PLUGIN_ERRORS=1 asks for a plugin's original error with its traceback."""
    return os.environ.get("LAYERSIG_RAISE_PLUGIN_ERRORS") == "1"


def cause(error: BaseException, module: str) -> str:
    """An error as one line: the message of a `UserError`, any other error with its type and the line that raised it.

    Args:
        error: The error.
        module: A module of the plugin, or something in it as `module:attribute`.
    """
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = _place(error, module)
    return f"{said} ({where})" if where else said


def blamed(error: BaseException, components: Iterable[Component]) -> str | None:
    """The component in whose code an error was raised, with the error as one line; None if it is built in."""
    for component in components:
        if component.origin != BUILT_IN and _place(error, component.module):
            return f"{component.label} failed: {cause(error, component.module)}"
    return None


def _place(error: BaseException, module: str) -> str | None:
    """The innermost line of a plugin in the traceback, such as `layersig_fisher/__init__.py:12`."""
    package = re.split(r"[.:]", module, maxsplit=1)[0]
    lines = [
        f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package
    ]
    return lines[-1] if lines else None
