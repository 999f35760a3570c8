"""Rows and turns of the tests of fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layersig.data.rows import Rows, read_rows

USER = {"role": "user", "content": "Where?"}
ASSISTANT = {"role": "assistant", "content": "There."}
TURNS = {"messages": [USER, ASSISTANT]}
PAIR = {"prompt": "Where?", "response": "There."}
ASKED = [("user", "Where?"), ("assistant", "There.")]


def read(folder: Path, *rows: Any, **options: Any) -> Rows:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_rows(path, **options)


def said(rows: Rows) -> list[tuple[str, str]]:
    (conversation,) = rows.conversations
    return [(message.role, message.content) for message in conversation.messages]
