"""`python -m tests.torture [KIND ...]`: run the trials and write what happened to them into `docs/torture.md`.

`kills` and `engines` want one thread (`OMP_NUM_THREADS=1`): their runs are forked from this process.

A kind is a module beside this one with `trials(count, folder)`, which yields that many `harness.Trial`s that live in
a scratch folder; the same count gives the same trials. Without arguments every kind is run; the page keeps the rows of
the kinds that are not.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from tests.torture.harness import Survey, survey
from tests.torture.page import write_page

COUNTS = {"recipes": 10_000, "data": 2_000, "checkpoints": 500, "folders": 200, "kills": 300, "engines": 12}
PAGE = Path(__file__).parents[2] / "docs" / "torture.md"


def main(kinds: list[str]) -> int:
    """Run the kinds named, or all; the exit code tells whether anything happened that must not."""
    if unknown := set(kinds) - COUNTS.keys():
        print(f"unknown: {', '.join(sorted(unknown))}; the kinds are {', '.join(COUNTS)}", file=sys.stderr)  # noqa: T201
        return 2
    bad = 0
    for kind in kinds or COUNTS:
        found = run(kind, COUNTS[kind])
        write_page(PAGE, found)
        bad += len(found.faults)
        print(f"{kind}: {dict(found.counts)}, slowest {found.slowest:.1f} s")  # noqa: T201
        for name, what in found.faults:
            print(f"  {name}: {what}", file=sys.stderr)  # noqa: T201
    return int(bad > 0)


def run(kind: str, count: int) -> Survey:
    """Run so many trials of a kind."""
    module = importlib.import_module(f"tests.torture.{kind}")
    with tempfile.TemporaryDirectory() as folder:
        return survey(kind, module.trials(count, Path(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
