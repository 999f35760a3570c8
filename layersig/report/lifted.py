"""What a wide table says in every row is said once, below it."""

from __future__ import annotations

from dataclasses import replace

from layersig.report.document import Table, plain

_WIDE = 7
"""Columns of a table that is read as it stands."""
_NOTHING = "\u2013"


def lifted(table: Table) -> tuple[Table, str]:
    """The table without columns that hold one value in every row, and a sentence with these values.

    The first column stays, and so do all columns of tables that are narrow or have a single row.
    """
    if not table.lifts or len(table.columns) < _WIDE or len(table.rows) < 2:
        return table, ""
    constant = [i for i in range(1, len(table.columns)) if len({row[i] for row in table.rows}) == 1]
    kept = [i for i in range(len(table.columns)) if i not in constant]
    values = [(table.columns[i].head, plain((table.rows[0][i],))) for i in constant]
    said = [f"{head} {value}".strip() for head, value in values if value not in ("", _NOTHING)]
    nothing = [head for head, value in values if value == _NOTHING]
    parts = [f"In every row: {'; '.join(said)}."] if said else []
    parts += [f"Nothing in: {', '.join(nothing)}."] if nothing else []
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows), " ".join(parts)
