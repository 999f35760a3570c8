"""Every table of `analysis.json` as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from layersig.findings.rows.base import Row


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with the names of their fields as head; numbers to the last digit, nothing for null."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = list(type(rows[0]).model_fields)
    writer.writerow(fields)
    writer.writerows([_cell(getattr(row, field)) for field in fields] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
