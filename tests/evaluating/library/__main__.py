"""Compare every task of the table with lm-eval, and write the table into docs/tasks.md."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from pathlib import Path

from tests.evaluating.library.cases import CASES
from tests.evaluating.library.sweep import Verdict, compare

PAGE = Path(__file__).parents[3] / "docs" / "tasks.md"
HEAD = "| task | kind of definition | outcome |\n| --- | --- | --- |\n"


def line(name: str, verdict: Verdict) -> str:
    """A row of the table."""
    said = "agrees" if verdict.refused is None else f"refused: {verdict.refused}"
    plain = re.sub(r"/[^\s:]*/", "", " ".join(said.split())).replace("|", "or")  # without folders of this machine
    cells = (f"`{name}`", verdict.kind, plain)
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write the table."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    rows = ""
    for name, fields in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += line(name, compare(name, fields, Path(folder)))
    prose = PAGE.read_text(encoding="utf-8").partition("| task |")[0]
    PAGE.write_text(f"{prose}{HEAD}{rows}", encoding="utf-8")


if __name__ == "__main__":
    main()
