"""Answers of a model, kept batch by batch as they come, so that an interrupted evaluation asks for none of them twice.

Batches follow from the requests alone, never from what is known already: a batch is known as a whole or run as a whole,
and an evaluation that was interrupted ends with the bytes of one that was not.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layersig.jsonform import Open, dumps
from layersig.store.lines import intact_lines


class KeptForm(Open):
    """A line: a batch of answers to one round of requests."""

    round: int
    asked: str
    tokens: int
    answers: list[tuple[int, Any]]


class Round:
    """The answers to one round of requests.

    Attributes:
        known: Answers of earlier processes, by number of the request.
        tokens: Tokens that were run for them.
    """

    def __init__(self, path: Path | None, number: int, asked: str, lines: Iterable[KeptForm]) -> None:
        self._path, self._number, self._asked = path, number, asked
        self.known: dict[int, Any] = {}
        self.tokens = 0
        for line in lines:
            self.known |= dict(line["answers"])
            self.tokens += line["tokens"]

    def has(self, numbers: Iterable[int]) -> bool:
        """Whether all of these are known."""
        return all(number in self.known for number in numbers)

    def keep(self, answers: Mapping[int, Any], tokens: int) -> None:
        """Keep the answers of a batch, JSON values, and the tokens run for them."""
        if self._path is None:
            return
        line: KeptForm = {
            "round": self._number,
            "asked": self._asked,
            "tokens": tokens,
            "answers": list(answers.items()),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(dumps(line) + "\n")


class KeptAnswers:
    """Rounds of answers in a file of lines that only grows; it is cut before a line that a crash left incomplete.

    Args:
        path: The file; None keeps nothing.

    Attributes:
        state: Where the batch of answers is saved that is being written; None without a file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.state = None if path is None else path.with_name(f"{path.name}.state")
        self._rounds = 0
        self._lines: dict[tuple[int, str], list[KeptForm]] = {}
        for line in intact_lines(path, KeptForm) if path is not None else ():
            self._lines.setdefault((line["round"], line["asked"]), []).append(line)

    def round(self, asked: Iterable[bytes]) -> Round:
        """The next round, of requests with this content; rounds come in the same order every time."""
        if self._path is None:
            return Round(None, 0, "", ())
        digest = hashlib.sha256()
        for each in asked:
            digest.update(len(each).to_bytes(8, "little") + each)
        number, self._rounds = self._rounds, self._rounds + 1
        key = number, digest.hexdigest()
        return Round(self._path, *key, self._lines.pop(key, ()))


def packed(*tokens: Sequence[int]) -> bytes:
    """Sequences of token ids as bytes, different ones always different."""
    return b"".join(array("q", [len(each), *each]).tobytes() for each in tokens)
