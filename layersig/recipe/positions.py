"""The line of every key of a TOML text. Neither `tomllib` nor `tomlkit` reports positions."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]
"""Keys from the root; elements of arrays by number from 0."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)


def locate(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key, table header and array element.

    Args:
        text: Valid TOML, already read by `tomllib`.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """One pass over a valid document that skips values and records the lines of keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._starts = [match.end() for match in re.finditer("\n", text)]
        self._elements: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._next() != "":
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        line, brackets = self._line(), 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        keys = self._key()
        self.at += brackets
        path: KeyPath = ()
        for number, key in enumerate(keys, start=1):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if brackets == 2 and number == len(keys):
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        self.lines[path] = line
        return path

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        for key in self._key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        sign = self.text[self.at]
        if sign in "\"'":
            self._skip(_STRING)
        elif sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline_table(path)
        else:
            self._skip(_BARE_VALUE)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        number = 0
        while self._next() != "]":
            self.lines[*path, number] = self._line()
            self._value((*path, number))
            number += 1
            if self._next() == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._next() != "}":
            self._pair(path)
            if self._next() == ",":
                self.at += 1
        self.at += 1

    def _key(self) -> list[str]:
        """The parts of a dotted key; afterwards the position is at the `=` or `]`."""
        parts = []
        while True:
            self._skip(_SPACE)
            quoted = self.text[self.at] in "\"'"
            part = self._skip(_STRING if quoted else _BARE_KEY)
            parts.append(tomllib.loads(f"key = {part}")["key"] if quoted else part)
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _next(self) -> str:
        self._skip(_BLANK)
        return self.text[self.at : self.at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"the text is not valid TOML at {self.at}"
        self.at = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_right(self._starts, self.at) + 1
