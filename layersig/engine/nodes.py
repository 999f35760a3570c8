"""What stages read, as it lies on disk: sources and finished stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layersig.sources.source import Source
from layersig.store.cache import StageEntry
from layersig.store.hashing import digest_of


@dataclass(frozen=True)
class Node:
    """Something that stages read, on disk: a source or a finished stage.

    Attributes:
        path: File or folder.
        digest: Content hash of it.
        files: Sha256 by relative name where it is a stage's output, so that a part has a digest of its own.
        origin: Public name where it is a source.
    """

    path: Path
    digest: str
    files: Mapping[str, str] | None = None
    origin: str | None = None

    def part(self, path: str) -> tuple[Path, str]:
        """Path and content hash of a file or folder inside it, or of the whole for an empty path."""
        if not path:
            return self.path, self.digest
        assert self.files is not None, "only outputs of stages are read in part"
        return self.path / path, digest_of(
            {name: digest for name, digest in self.files.items() if name == path or name.startswith(f"{path}/")}
        )


def source_nodes(sources: Mapping[str, Source]) -> dict[str, Node]:
    """The sources of a graph as what its stages read, by name."""
    return {name: Node(source.path, source.digest, origin=source.public_name) for name, source in sources.items()}


def output_node(entry: StageEntry) -> Node:
    """The output of a stage as what later stages read."""
    return Node(entry.out, entry.digest, entry.about["files"])
