"""Limits on a TOML text that are checked before it is parsed: depth of nesting, and length of bare keys and numbers.

`tomllib` takes quadratic time for a key of many parts and recurses into values, and so does all later code. The limits
are therefore checked on the text, in one linear pass that does not need valid TOML.
"""

from __future__ import annotations

import re

DEEPEST = 32
"""Largest number of levels of tables and arrays; valid recipes need a quarter of it."""
LONGEST_WORD = 1000
"""Largest length of a bare key or a number in characters; Python reads at most 4300 digits."""

_PART = r'(?:"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?!"")(?:\\.|[^"\\\n])*"|\'(?!\'\')[^\'\n]*\'|[\w+\-]+)'
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_TOKEN = re.compile(
    rf"(?P<header>^[ \t]*\[\[?[ \t]*{_KEY})|(?P<key>{_KEY})|(?P<unclosed>\"{{3}}|'{{3}})"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|\#[^\n]*",
    re.DOTALL | re.MULTILINE,
)
_PARTS = re.compile(_PART, re.DOTALL)


def out_of_bounds(text: str) -> tuple[int, str] | None:
    """The line, from 1, and a description of the first violation of a limit; None if there is none."""
    table = inside = key = 0
    opened: list[int] = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "unclosed":  # the rest of the text is in an unclosed string
            return None
        if kind in ("header", "key"):
            parts = _PARTS.findall(token.group())
            if any(len(part) > LONGEST_WORD and part[0] not in "\"'" for part in parts):
                return _line(text, token), f"a key or number of more than {LONGEST_WORD} characters"
            if kind == "key":
                key = len(parts)
            elif not opened:
                table, key = len(parts), 0
            else:  # an array in an array that begins on a line of its own
                key = len(parts)
                opened.append(1)
                inside += 1
        elif kind == "open":
            opened.append(max(key, 1))
            inside += opened[-1]
            key = 0
        elif kind == "close" and opened:
            inside -= opened.pop()
            key = 0
        elif kind == "comma":
            key = 0
        if table + inside + key > DEEPEST:
            return _line(text, token), f"values are nested too deeply to be a recipe: more than {DEEPEST} levels"
    return None


def _line(text: str, token: re.Match[str]) -> int:
    return text.count("\n", 0, token.start()) + 1
