"""What the manifest of a run that begins again says of the one before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from layersig.engine.manifest import other_content
from layersig.sources.source import Source
from tests.manifests import manifest, source

CHATS = Source("file:chats.jsonl", "file:/a/chats.jsonl", "chats", "data", Path("chats.jsonl"), None, "d" * 64, None)


def test_other_content_of_a_source_is_told() -> None:
    earlier: Any = manifest(sources=[source("data", "chats", digest="d" * 64)])
    node = earlier["sources"][0]["node"]
    assert not list(other_content(None, {node: CHATS}))
    assert not list(other_content(earlier, {node: CHATS}))
    (told,) = other_content(earlier, {node: replace(CHATS, digest="e" * 64)})
    assert told == "chats holds other content than when this run was computed; its results are replaced"
