"""What stages read, as it lies on disk: sources and finished stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layersig.errors import UserError
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
        digest_now: As `Source` has it.
    """

    path: Path
    digest: str
    files: Mapping[str, str] | None = None
    origin: str | None = None
    digest_now: Callable[[Path], str] | None = field(default=None, compare=False, repr=False)

    def changed(self, cache: Path) -> bool:
        """Whether what lies there is no more what was found when the run began.

        Args:
            cache: Root of the cache.
        """
        if self.digest_now is None:
            return False
        try:
            return self.digest_now(cache) != self.digest
        except (OSError, UserError):  # it is gone, or no longer what it was
            return True

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
    return {
        name: Node(source.path, source.digest, origin=source.public_name, digest_now=source.digest_now)
        for name, source in sources.items()
    }


def output_node(entry: StageEntry) -> Node:
    """The output of a stage as what later stages read."""
    return Node(entry.out, entry.digest, entry.about["files"])
