"""Rankings of another run: `file:` and a run folder, the folder of a study that holds one run, or a `scores.jsonl`."""

from __future__ import annotations

from pathlib import Path

from layersig.errors import UserError
from layersig.sources.entries import hash_files
from layersig.sources.source import Request, Source

_FILE = "scores.jsonl"


def resolve_rankings(spec: str, name: str, request: Request) -> Source:
    """The file of rankings that a scorer reads, known by its content.

    Args:
        spec: `file:PATH`, relative to the base folder of the request.
        name: Name of the scorer, which becomes the label.
        request: How it may be read.

    Raises:
        UserError: There is no such file, or the folder holds several runs.
    """
    path = (request.base_dir / Path(spec.partition(":")[2]).expanduser()).resolve()
    found = rankings_file(path)
    digest = hash_files(request.cache, {_FILE: found})[_FILE]
    return Source(spec, f"file:{found}", name, "rankings", found, None, digest, None)


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
