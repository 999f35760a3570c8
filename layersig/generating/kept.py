"""Responses kept batch by batch in a log that survives an interruption; what is in it is not generated again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from layersig.generating.chats import Key, Response, ResponseForm
from layersig.jsonform import dumps
from layersig.store.lines import intact_lines


class ResponseLog:
    """Responses in a file of lines that only grows; it is cut before a line that a crash left incomplete.

    Args:
        path: The file; made with the first batch.

    Attributes:
        held: What it holds, by id of the chat and number of the sample.
        state: Where the batch is saved that is being written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.state = path.with_name(f"{path.name}.state")
        self.held: dict[Key, Response] = {
            (each.chat, each.sample): each for each in map(Response.from_json, intact_lines(path, ResponseForm))
        }

    def take(self, batches: Iterable[list[Response]]) -> None:
        """Append batches as they come, each to be on disk before the next one begins."""
        with self._path.open("a", encoding="utf-8") as lines:
            for batch in batches:
                lines.write("".join(dumps(response.to_json()) + "\n" for response in batch))
                lines.flush()
                os.fsync(lines.fileno())
                self.held |= {(response.chat, response.sample): response for response in batch}
