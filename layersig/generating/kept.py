"""Responses kept batch by batch in a log that survives an interruption; what is in it is not generated again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NotRequired

from layersig.generating.chats import Key, Response, ResponseForm
from layersig.jsonform import jsonl
from layersig.store.lines import intact_lines


class _LineForm(ResponseForm):
    """A line: a response, and with the first of a batch the tokens that went through the model for it."""

    ran: NotRequired[int]


class ResponseLog:
    """Responses in a file of lines that only grows; it is cut before a line that a crash left incomplete.

    Args:
        path: The file; made with the first batch.

    Attributes:
        held: What it holds, by id of the chat and number of the sample.
        tokens: Tokens that went through the model for that.
        state: Where the batch is saved that is being written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running = 0
        self.state = path.with_name(f"{path.name}.state")
        self.held: dict[Key, Response] = {}
        self.tokens = 0
        for line in intact_lines(path, _LineForm):
            self.tokens += line.pop("ran", 0)
            response = Response.from_json(line)
            self.held[response.chat, response.sample] = response

    def ran(self, tokens: int) -> None:
        """Tokens went through the model for the batch that comes next."""
        self._running += tokens

    def take(self, batches: Iterable[list[Response]]) -> None:
        """Append batches as they come, each to be on disk before the next one begins."""
        with self._path.open("a", encoding="utf-8") as lines:
            for batch in batches:
                rows = [response.to_json() for response in batch]
                rows[0]["ran"] = self._running
                lines.write(jsonl(rows))
                lines.flush()
                os.fsync(lines.fileno())
                self.held |= {(response.chat, response.sample): response for response in batch}
                self.tokens += self._running
                self._running = 0
