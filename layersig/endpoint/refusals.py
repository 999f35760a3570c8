"""What the error of an endpoint says, and which setting it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

LENGTHS = ("max_tokens", "max_completion_tokens")
_REMEDIES = {
    "temperature": 'set `{table}.temperature = "default"`, so that none is sent and the endpoint uses its own',
    "max_tokens": 'set `{table}.length_key = "max_completion_tokens"`',
    "max_completion_tokens": 'set `{table}.length_key = "max_tokens"`',
}
_COMPLAINT = re.compile(
    r"support|unknown|unrecogni|unexpected|invalid|must|only|deprecated|allowed|permitted|extra|range|instead|default",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context|too (?:large|long|many)|exceed|at most", re.IGNORECASE)


def remedy_of(setting: str, table: str) -> str:
    """What to write in a table of the recipe where an endpoint refuses a setting."""
    return _REMEDIES[setting].format(table=table)


def message(raw: bytes) -> str:
    """What an error's body says: OpenAI's `error.message`, FastAPI's `detail`, or the body itself."""
    return _complaint(raw)[1]


def _complaint(raw: bytes) -> tuple[frozenset[str], str]:
    """The parameters that an error's body names as such, and what it says."""
    text = raw.decode(errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        return frozenset(), text
    if not isinstance(value, dict):
        return frozenset(), text
    error = value.get("error", value.get("detail", value.get("message", value)))
    if isinstance(error, list) and error and all(isinstance(each, dict) and "msg" in each for each in error):
        places = [each.get("loc") or () for each in error]  # FastAPI repeats the whole request in `input`
        said = "; ".join(
            f"{'.'.join(map(str, place))}: {each['msg']}" for place, each in zip(places, error, strict=True)
        )
        return frozenset(str(part) for place in places for part in place), said
    if isinstance(error, dict):
        return frozenset({str(error.get("param"))}), str(error.get("message", error))
    return frozenset({str(value.get("param"))}), str(error)


def refused_setting(raw: bytes, settings: Mapping[str, Any]) -> str | None:
    """The setting that an endpoint refuses, whatever the prompt; None where it is the prompt that it refuses."""
    named, said = _complaint(raw)
    for name in (each for each in _REMEDIES if each in settings):
        meant = name in named or (re.search(rf"(?<!\w){name}(?!\w)", said) and _COMPLAINT.search(said))
        # A limit that is refused for its value goes with one prompt: there is too little room behind it.
        if meant and not (name in LENGTHS and _TOO_LONG.search(said)):
            return name
    return None
