"""The columns of every table of `analysis.json`, held against its schema version.

`python -m tests.golden.columns` accepts the present state. Do that after raising `SCHEMA_VERSION`: a file of other
columns cannot be read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layersig.findings.rows.base import Row
from layersig.findings.tables import SCHEMA_VERSION, Findings
from layersig.topics.registry import TOPICS

ACCEPTED = Path(__file__).with_name("columns.json")


def present() -> dict[str, Any]:
    """The schema version, and the name and type of every key of the head and of every column."""
    tables = {table.name: _columns(table.row) for topic in TOPICS for table in topic.tables}
    return {"schema_version": SCHEMA_VERSION, "head": _columns(Findings), "tables": tables}


def _columns(row: type[Row]) -> dict[str, str]:
    return {name: str(field.annotation) for name, field in row.model_fields.items()}


if __name__ == "__main__":
    ACCEPTED.write_text(json.dumps(present(), indent=1) + "\n", encoding="utf-8")
