"""Reading a verdict out of what the judge wrote."""

from __future__ import annotations

import re
from typing import Literal

Winner = Literal["first", "second", "tie"]

_MARKS = r"[\s:=*_`\"'()\[\]]{1,8}"
_RATING = re.compile(rf"\brating\b{_MARKS}(-?\d+(?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE)
_VERDICT = re.compile(rf"\bverdict\b{_MARKS}(first|second|tie)\b", re.IGNORECASE)
LOWEST, HIGHEST = 1.0, 10.0


def read_rating(text: str) -> float | None:
    """The last `Rating: N` of a text; None when there is none, or N is not within 1 to 10.

    Marks around the number (`**Rating:** [[7]]`, `"rating": 7`, `Rating: 7/10`) do no harm.
    """
    found = _RATING.findall(text)
    value = float(found[-1]) if found else 0.0
    return value if LOWEST <= value <= HIGHEST else None


def read_winner(text: str) -> Winner | None:
    """The last `Verdict: FIRST`, `SECOND` or `TIE` of a text; None when there is none."""
    found = _VERDICT.findall(text)
    winners: dict[str, Winner] = {"first": "first", "second": "second", "tie": "tie"}
    return winners[found[-1].lower()] if found else None
