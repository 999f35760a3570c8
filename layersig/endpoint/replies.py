"""What an endpoint wrote: its words, why they ended, and when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

_ENDED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
"""What endpoints say of a reply that ended by itself; no stop sequence of ours is ever sent."""


class Reply(NamedTuple):
    """What an endpoint wrote.

    Attributes:
        text: Its words without thoughts that the endpoint gives apart; empty when it wrote none.
        finish: Why it ended: `stop` by itself, so that its last line closes it; else what the endpoint calls it
            (`length`, `content_filter`, ...), `refusal`, or `unknown` where the endpoint says nothing.
        model: The model that the endpoint says wrote them.
        created: When, as the endpoint says, in UTC.
        tokens: Tokens of prompt and answer, as the endpoint counts them.
        written: Those of the answer.
    """

    text: str
    finish: str
    model: str | None
    created: str | None
    tokens: int
    written: int = 0


def words_of(message: Mapping[str, Any]) -> tuple[str, str]:
    """What a message says, without thoughts that are given apart, and how it refuses to say anything."""
    content = message.get("content")
    texts, refusals = [], [message.get("refusal")]
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            texts.append(part.get("text") if part.get("type") in (None, "text", "output_text") else None)
            refusals.append(part.get("refusal"))
        else:
            texts.append(part)
    said, refused = ("".join(str(each) for each in found if each is not None) for found in (texts, refusals))
    return said, refused


def finish_of(reason: object, usage: Mapping[str, Any], limit: object) -> str:
    """Why a reply ended; where the endpoint gives no reason, fewer tokens than the limit show that it was not cut."""
    if reason is not None:
        return "stop" if str(reason).lower() in _ENDED else str(reason)
    used = usage.get("completion_tokens", usage.get("total_tokens"))
    return "stop" if isinstance(used, int) and isinstance(limit, int) and 0 < used < limit else "unknown"


def moment_of(created: object, sent: str | None) -> str | None:
    """When an answer was made, by its own field or by the header `Date`."""
    try:
        moment = dt.datetime.fromtimestamp(float(str(created)), dt.UTC)
    except (ValueError, OverflowError, OSError):
        try:
            moment = parsedate_to_datetime(sent or "").astimezone(dt.UTC)
        except ValueError:
            return None
    return moment.replace(microsecond=0).isoformat()
