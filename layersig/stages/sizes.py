"""How many tokens go through a model at once in a stage, where the memory of the device decides.

Such numbers change rounding, and other memory may be free when an interrupted stage begins again. They are kept with
what the stage has done, so that it ends with the bytes of one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from typing_extensions import TypedDict

from layersig.jsonform import Damaged, dumps, read_json
from layersig.store.files import write_atomic


class _Form(TypedDict):
    chosen: dict[str, int]
    halved: dict[str, int]


@dataclass(slots=True)
class Sizes:
    """The sizes of a stage, in tokens.

    Attributes:
        chosen: By what is run, what was chosen from the memory that was free.
        halved: By what is run, what was left of it when memory ran out.
    """

    chosen: dict[str, int] = field(default_factory=dict)
    halved: dict[str, int] = field(default_factory=dict)


_open: list[tuple[Sizes, Path | None]] = []


@contextmanager
def kept_sizes(path: Path | None = None) -> Iterator[Sizes]:
    """Within this context what is chosen is kept, and what is halved stays halved.

    Args:
        path: File that keeps them; what another process left there holds. None: they end with the context.
    """
    sizes = _read(path)
    _open.append((sizes, path))
    try:
        yield sizes
    finally:
        _open[:] = [each for each in _open if each[0] is not sizes]


def chosen(what: str) -> int | None:
    """What this stage chose for what is run, before an interruption too; None where it has not chosen."""
    return _open[-1][0].chosen.get(what) if _open else None


def choose(what: str, tokens: int) -> None:
    """Keep what was chosen for what is run."""
    if _open:
        sizes, path = _open[-1]
        sizes.chosen[what] = tokens
        _write(sizes, path)


def halved(what: str) -> int | None:
    """Tokens of what is run since memory ran out; None where it has not."""
    return _open[-1][0].halved.get(what) if _open else None


def halve(what: str, tokens: int) -> None:
    """Keep that memory allows only so many tokens of what is run."""
    if _open:
        sizes, path = _open[-1]
        sizes.halved[what] = min(tokens, sizes.halved.get(what, tokens))
        _write(sizes, path)


def _read(path: Path | None) -> Sizes:
    try:
        return Sizes() if path is None else Sizes(**read_json(path, _Form))
    except (Damaged, FileNotFoundError):
        return Sizes()


def _write(sizes: Sizes, path: Path | None) -> None:
    if path is not None:
        write_atomic(path, dumps(asdict(sizes)))
