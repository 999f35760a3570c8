"""What a stage asks of the store, counted in a tiny study: files and folders opened, made, moved, removed, listed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.cli.main import main
from layersig.jsonform import read_json
from tests.study import write_study

_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir"}


@dataclass(frozen=True)
class Requests:
    """What one stage asks for on average.

    Attributes:
        cache: Requests to the cache, by kind.
        run: Requests to the run folder.
        files: Files that it leaves in the cache.
    """

    cache: dict[str, float]
    run: float
    files: float


def counted() -> Requests:
    """Run a tiny study in this process, and count."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        cache, runs = base / "cache", base / "runs"
        os.environ["LAYERSIG_CACHE"] = str(cache)
        recipe = write_study(base, tied=False)
        seen: Counter[tuple[str, str]] = Counter()

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _EVENTS and isinstance(arguments[0], str | os.PathLike):
                path = os.fspath(arguments[0])
                for folder in (cache, runs):
                    if path.startswith(str(folder)):
                        seen[folder.name, event.removeprefix("os.")] += 1

        sys.addaudithook(hook)
        with contextlib.suppress(SystemExit):
            main(["run", str(recipe), "--runs", str(runs), "--json"])
        (manifest,) = runs.glob("*/*/manifest.json")
        stages = len(read_json(manifest, dict[str, Any])["stages"])
        files = sum(path.is_file() for path in (cache / "stages").rglob("*"))
    kinds = {event: count / stages for (folder, event), count in seen.items() if folder == "cache"}
    run = sum(count for (folder, _), count in seen.items() if folder == "runs")
    return Requests(kinds, run / stages, files / stages)
