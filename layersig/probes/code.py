"""Code in a response: finding it, and classifying its errors by what Python reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

Error = Literal[
    "none",
    "no code",
    "bracket",
    "other syntax",
    "undefined name",
    "assertion",
    "timeout",
    "memory",
    "recursion",
    "type",
    "value",
    "attribute or import",
    "index or key",
    "exited",
    "not allowed here",
    "other",
]
PaperError = Literal["passed", "assertion", "bracket/syntax", "other syntax", "not defined", "timeout", "others"]

_REFUSED: Error = "not allowed here"
"""What `layersig.sandbox` writes into the message of an exception that confinement caused."""
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n?", re.MULTILINE)
_PYTHON = frozenset({"", "python", "python3", "py"})
# The words with which Python since 3.8 reports bracket errors, all as SyntaxError.
_BRACKET = re.compile(r"was never closed|unmatched '[)\]}]'|closing parenthesis|opening parenthesis")
_KINDS: Sequence[tuple[str, Error]] = (
    ("SyntaxError", "other syntax"),
    ("UnboundLocalError", "undefined name"),
    ("NameError", "undefined name"),
    ("AssertionError", "assertion"),
    ("TimeoutError", "timeout"),
    ("MemoryError", "memory"),
    ("RecursionError", "recursion"),
    ("TypeError", "type"),
    ("ValueError", "value"),
    ("AttributeError", "attribute or import"),
    ("ImportError", "attribute or import"),
    ("LookupError", "index or key"),
)


class Extraction(NamedTuple):
    """Code found in a response.

    Attributes:
        code: Python source; empty when there is none.
        fenced: Whether it stood in a fence.
        closed: Whether that fence was closed; True without a fence.
    """

    code: str
    fenced: bool
    closed: bool


class Ending(NamedTuple):
    """How a program ended, as reported by `layersig.sandbox`.

    Attributes:
        ended: `completed`, `raised`, `not compiled`, `exited`, `timeout`, `output`, `disk` or `died`.
        kinds: The exception's class and its bases by name, most special first.
        message: Its text.
    """

    ended: str
    kinds: Sequence[str]
    message: str


def extract(response: str, *, opened: bool = False) -> Extraction:
    """The code of a response.

    The first fence of Python, or of no language, counts. A line that begins with a fence closes it, without one the
    first fence inside a line; one that is never closed goes to the end (the paper's scorer keeps the fence in that
    case, so that a missing fence looks like a syntax error in line 1). Without a fence the whole response is code.

    Args:
        response: What the model wrote.
        opened: The prompt ended inside a fence: what comes before the first fence is code.
    """
    fences = list(_FENCE.finditer(response))
    if opened:
        return _fenced(response, 0, fences[0].start() if fences else None)
    for first, last in zip_longest(fences[::2], fences[1::2]):
        if first[1].lower() in _PYTHON:
            return _fenced(response, first.end(), last.start() if last else None)
    return Extraction(response if response.strip() else "", False, True)


def _fenced(response: str, start: int, closed_at: int | None) -> Extraction:
    end = response.find("```", start) if closed_at is None else closed_at
    return Extraction(response[start : end if end >= 0 else len(response)], True, end >= 0)


def error_of(extraction: Extraction, ending: Ending) -> Error:
    """What is wrong with a program: by the exception's class, and for syntax by what the compiler says.

    Args:
        extraction: What was taken from the response; without code nothing else counts.
        ending: How the program with its tests ended.
    """
    if not extraction.code.strip():
        return "no code"
    if ending.ended == "completed":
        return "none"
    if ending.ended in ("timeout", "exited"):
        return "timeout" if ending.ended == "timeout" else "exited"
    if _REFUSED in ending.message:
        return _REFUSED
    if "SyntaxError" in ending.kinds and _BRACKET.search(ending.message):
        return "bracket"
    return next((error for kind, error in _KINDS if kind in ending.kinds), "other")


def paper_error_of(ending: Ending) -> PaperError:
    """The taxonomy of arXiv 2602.01997, by substrings of the message of HumanEval's `check_correctness`.

    In the paper's order: an empty message is a failed assertion; then brackets, other syntax, undefined names and
    timeouts by what the message holds; the rest are "others". Kept for comparison with its figures.
    """
    if ending.ended == "completed":
        return "passed"
    result = "timed out" if ending.ended == "timeout" else f"failed: {ending.message}"
    if result == "failed: ":
        return "assertion"
    marks = ("was never closed", "opening parenthesis", "unmatched ')'", "unmatched '}'", "unmatched ']'")
    if any(mark in result for mark in marks):
        return "bracket/syntax"
    if "invalid syntax" in result:
        return "other syntax"
    if "is not defined" in result:
        return "not defined"
    return "timeout" if "timed out" in result or "depth exceeded" in result else "others"
