"""Rankings of another run: `file:` and a run folder, the folder of a study that holds one run, or a `scores.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from layersig.errors import UserError
from layersig.sources.entries import hash_file
from layersig.sources.source import NamedSource, Request, Source, SourceLoader

_FILE = "scores.jsonl"


def resolve_rankings(
    wanted: NamedSource, request: Request, *, strict: bool = False, loaders: Mapping[str, SourceLoader] | None = None
) -> Source:
    """The `Resolver` of the rankings that a scorer reads: a file, known by its content.

    Args:
        wanted: `file:PATH`, relative to the base folder of the request, under the name of the scorer.
        request: How it may be read.
        strict: Without effect: rankings have no fallback.
        loaders: Without effect: rankings are always a file.

    Raises:
        UserError: There is no such file, or the folder holds several runs.
    """
    path = (request.base_dir / Path(wanted.spec.partition(":")[2]).expanduser()).resolve()
    found = rankings_file(path)
    now = partial(hash_file, found)
    digest = now(request.cache)
    return Source(wanted.spec, f"file:{found}", wanted.name, "rankings", found, None, digest, None, digest_now=now)


def rankings_file(path: Path) -> Path:
    """The file of rankings that a path means.

    Args:
        path: The file, the folder of a run, or the folder of a study that holds one run.

    Raises:
        UserError: There is none, or there are several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: there is no such run; paths are relative to the recipe")
    if (path / _FILE).is_file():
        return path / _FILE
    runs = sorted(path.glob(f"*/{_FILE}"))
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise UserError(f"{path}: holds no {_FILE}; name the folder of a run that ranked layers")
    raise UserError(f"{path}: holds {len(runs)} runs; name one of them: {', '.join(run.parent.name for run in runs)}")
