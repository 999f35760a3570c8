"""Shows the calls of plugins on stderr, where LAYERSIG_TRACE_PLUGINS=1 asks for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sized
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


def traces() -> bool:
    """Whether LAYERSIG_TRACE_PLUGINS=1 asks for every call of a plugin."""
    return os.environ.get("LAYERSIG_TRACE_PLUGINS") == "1"


def traced(what: str, call: Callable[[], T]) -> T:
    """What `call` returns; before and after it, a line on stderr if calls are traced.

    Args:
        what: The call, such as `scorer "fisher" (layersig-fisher 0.2.0).score`.
        call: Makes it.
    """
    if not traces():
        return call()
    began = time.monotonic()
    _say(f"{what} ...")
    try:
        found = call()
    except BaseException as error:
        _say(f"{what} raised {type(error).__name__} after {time.monotonic() - began:.2f} s")
        raise
    _say(f"{what} returned {_shown(found)} after {time.monotonic() - began:.2f} s")
    return found


class Traced:
    """An object of a plugin whose methods are traced.

    Args:
        label: The object in the trace.
        target: The object.
    """

    def __init__(self, label: str, target: Any) -> None:
        self._label = label
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return partial(self._call, name, value) if callable(value) else value

    def _call(self, name: str, method: Callable[..., T], *arguments: Any, **named: Any) -> T:
        return traced(f"{self._label}.{name}", partial(method, *arguments, **named))


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if isinstance(value, Sized) else kind


def _say(text: str) -> None:
    sys.stderr.write(f"plugin: {text}\n")
