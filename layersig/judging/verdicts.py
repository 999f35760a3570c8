"""Reading a verdict out of what the judge wrote: from the line that closes its reply, and from nowhere else."""

from __future__ import annotations

import re
from typing import Literal

Winner = Literal["first", "second", "tie"]

_TAGS = r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad"
_OPENED = re.compile(rf"^[ \t]*(?:<(?:\w+:)?(?:{_TAGS})>|\[think\]|◁think▷)", re.IGNORECASE | re.MULTILINE)
_CLOSED = re.compile(rf"</(?:\w+:)?(?:{_TAGS})>|\[/think\]|◁/think▷", re.IGNORECASE)
_FENCE = re.compile(r"\s*(```|~~~)")

# A verdict opens its line, or a sentence of it, or is a key of an object.
_BEFORE = r"(?:^|[.!?]\s|\{\s*(?=[\"'])|,\s*(?=[\"']))"
_LABEL = r"[\s*_#`(\[{\"'-]*(?:(?:my|the|so|thus|final|overall)\s+){0,3}"
_MARKS = r"[\s:=*_`\"'()\[\]]"
_OF_TEN = r"(?:[\s*_`)\]]*(?:/|out of)\s*10(?:\.0)?)?"
# Servers of models sometimes leave the token in the text that ended it.
_AFTER = r"[\s.!*_`\"')\]}]*(?:<\|\w+\|>|</s>|<eos>|<end_of_turn>)?$"
_FORMS = {
    "rating": re.compile(
        rf"{_BEFORE}{_LABEL}\brating\b{_MARKS}{{1,8}}(-?\d+(?:\.\d+)?){_OF_TEN}{_AFTER}", re.IGNORECASE
    ),
    "verdict": re.compile(rf"{_BEFORE}{_LABEL}\bverdict\b{_MARKS}{{1,8}}(first|second|tie){_AFTER}", re.IGNORECASE),
}
_NAMES = {word: re.compile(rf"{_LABEL}\b{word}\b{_MARKS}*", re.IGNORECASE) for word in _FORMS}
LOWEST, HIGHEST = 1.0, 10.0


def spoken(text: str) -> str:
    """What a judge says behind its thoughts; empty while it still thinks.

    Thoughts are what stands before the last closing tag (`</think>` and its like in several spellings), or behind an
    opening one at the beginning of a line that is never closed.
    """
    closed = list(_CLOSED.finditer(text))
    rest = text[closed[-1].end() :] if closed else text
    return "" if _OPENED.search(rest) else rest.strip()


def read_rating(text: str) -> float | None:
    """The rating in the closing line of a reply, `Rating: N`; None when there is none, or N is not within 1 to 10.

    Marks around the number (`**Rating:** [[7]]`, `"rating": 7`, `Rating: 7/10`) do no harm. A rating that is quoted or
    stands inside a code block, and a line with several, are none.
    """
    found = _closing(text, "rating")
    value = float(found) if found is not None else 0.0
    return value if LOWEST <= value <= HIGHEST else None


def read_winner(text: str) -> Winner | None:
    """The verdict in the closing line of a reply, `Verdict: FIRST`, `SECOND` or `TIE`; None when there is none."""
    winners: dict[str | None, Winner] = {"first": "first", "second": "second", "tie": "tie"}
    found = _closing(text, "verdict")
    return winners.get(found and found.lower())


def _closing(text: str, word: str) -> str | None:
    """The value in the last line of a reply that says anything; it may stand in a line of its own below its name."""
    lines = [line.strip() for line in spoken(text).splitlines() if re.search(r"\w", line) or _FENCE.match(line)]
    if not lines or sum(_FENCE.match(line) is not None for line in lines) % 2:
        return None
    closing = lines[-1]
    if len(lines) > 1 and _NAMES[word].fullmatch(lines[-2]) and not _NAMES[word].search(closing):
        closing = " ".join(lines[-2:])
    found = _FORMS[word].search(closing)
    alone = len(re.findall(rf"\b{word}\b", closing, re.IGNORECASE)) == 1
    return found[1] if found is not None and alone and not _quoted(closing[: found.start()]) else None


def _quoted(before: str) -> bool:
    """Whether a quotation that was opened is not closed yet."""
    odd = any(before.count(mark) % 2 for mark in '"`')
    return odd or before.count("\u201c") > before.count("\u201d")
