"""`python -m tests.torture [KIND ...]`: run the trials and print what happened to them as a Markdown table.

A kind is a module beside this one with `trials(count, folder)`, which yields that many `harness.Trial`s that live in
a scratch folder; the same count gives the same trials.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from tests.torture.harness import survey

COUNTS = {"recipes": 10_000, "data": 2_000, "checkpoints": 500, "folders": 200}


def main(kinds: list[str]) -> int:
    """Run the kinds named, or all; the exit code tells whether anything happened that must not."""
    bad = 0
    print("| kind | trials | accepted | told | faults |\n| --- | --- | --- | --- | --- |")  # noqa: T201
    for kind in kinds or COUNTS:
        module = importlib.import_module(f"tests.torture.{kind}")
        with tempfile.TemporaryDirectory() as folder:
            found = survey(kind, module.trials(COUNTS[kind], Path(folder)))
        bad += len(found.faults)
        print(  # noqa: T201
            f"| {kind} | {found.total} | {found.counts['accepted']} | {found.counts['told']} | {len(found.faults)} |"
        )
        for name, what in found.faults:
            print(f"{kind} {name}: {what}", file=sys.stderr)  # noqa: T201
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
