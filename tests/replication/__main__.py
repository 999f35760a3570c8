"""Run the replication and write its pages: ``python -m tests.replication [PART...] [--data FOLDER]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.replication.extracts import EXTRACTS, read
from tests.replication.pages import RESULTS, figures, pages
from tests.replication.parts import PARTS, chosen
from tests.replication.run import run


def build(results: Path = RESULTS, extracts: Path = EXTRACTS) -> None:
    """Write pages and figures from the extracts that are there."""
    found = {part.name: each for part in PARTS if (each := read(part.name, extracts)) is not None}
    (results / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in pages(found).items():
        (results / name).write_text(text, encoding="utf-8")
    for name, text in figures(found).items():
        (results / "figures" / name).write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.replication", description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts to run; all when absent")
    parser.add_argument("--data", type=Path, help="folder of the files that standins.toml names, in place of the hub")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--pages", action="store_true", help="run nothing; write the pages from the extracts")
    arguments = parser.parse_args()
    for part in () if arguments.pages else chosen(arguments.parts):
        start = time.monotonic()
        print(f"== {part.name}: {part.command()}", flush=True)  # noqa: T201
        run(part, arguments.runs, arguments.data)
        build()
        print(f"== {part.name}: {time.monotonic() - start:.0f} s", flush=True)  # noqa: T201
    if arguments.pages:
        build()


if __name__ == "__main__":
    main()
