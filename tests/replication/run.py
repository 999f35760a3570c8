"""Run parts by `layersig`, and keep what the pages need of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.replication.extracts import EXTRACTS, extract, write
from tests.replication.parts import Part

_MAIN = (sys.executable, "-m", "layersig")
COMPLETE = ("complete", "complete-on-fallback")


def run(part: Part, runs: Path, data: Path | None, folder: Path = EXTRACTS) -> None:
    """Plan a part, run what is missing of it, and write its extract.

    A plan of what comparisons of arms can detect counts only if it was made before any outcome was measured.

    Args:
        part: The part.
        runs: Folder of runs.
        data: Folder of files that take the place of hub data sets; None for the sources of the recipe.
        folder: Where extracts are.

    Raises:
        SystemExit: `layersig` failed; what it has computed is kept.
    """
    loaded = part.load(data)
    path = runs / loaded.recipe.name / loaded.id
    arguments = [str(loaded.path), *loaded.overrides, "--runs", str(runs)]
    if not _finished(path):
        if loaded.recipe.arms:
            subprocess.run([*_MAIN, "plan", *arguments], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([*_MAIN, "run", *arguments])
        if done.returncode:
            raise SystemExit(done.returncode)
    write(extract(part.name, path), folder)


def _finished(path: Path) -> bool:
    manifest = path / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8"))["status"] in COMPLETE
