"""Everything that was found in a run: `analysis.json`, a head and flat tables, each of them written as a CSV too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from layersig.errors import UserError
from layersig.findings.forms import AnalysisForm
from layersig.findings.rows.base import AnyTable, Row, Table
from layersig.jsonform import Damaged, dumps, first_fault, read_json

SCHEMA_VERSION = 5

_RowT = TypeVar("_RowT", bound=Row)


ANALYSIS = "analysis.json"
"""The file of a run folder that holds what was found."""


class Findings(Row):
    """Everything that the files of a run say, ready to be shown; `findings[TABLE]` are the rows of a table."""

    schema_version: int
    name: str
    id: str
    status: str
    smoke: bool
    model: str
    unit: str
    baseline: str
    alpha: float
    primary_arms: tuple[str, ...] = ()
    """Arms whose comparison with the baseline is confirmatory."""
    primary_scorers: tuple[str, ...] = ()
    """What the report presents first: the scorers that the primary arms read; without arms, the recipe's first that
    looks at the model."""
    further_controls: tuple[str, ...] = ()
    """Random controls behind the first of their arm and match: they stand for chance together, and their values are in
    `results` alone."""
    other_declarations: int
    """Other declarations for the same model on record in the cache when the outcomes were measured: what else could
    have been reported as confirmatory."""
    looks: str | None = None
    """A sentence on seeds that were added or left out after results of the same study had been analysed."""
    sizes: tuple[int, ...]
    """The k at which rankings are compared: the sizes that the arms select."""
    notes: tuple[str, ...]
    """What is missing or could not be computed, and why."""
    tables: Mapping[str, tuple[Row, ...]] = {}
    """The rows of every table that was computed, by its name."""

    def __getitem__(self, table: Table[_RowT]) -> tuple[_RowT, ...]:
        """The rows of a table; none where the run was analysed without it."""
        return self.tables.get(table.name, ())  # type: ignore[return-value]  # `with_rows` and `load` put them there

    def with_rows(self, rows: Mapping[AnyTable, Iterable[Row]], notes: Iterable[str] = ()) -> Findings:
        """The same with more tables, or other rows in them, and more notes."""
        added = {table.name: tuple(of_table) for table, of_table in rows.items()}
        return self.model_copy(update={"tables": {**self.tables, **added}, "notes": (*self.notes, *notes)})

    def only(self, tables: Iterable[AnyTable]) -> Findings:
        """The same with these tables alone; reading another one is an error."""
        return _Excerpt.model_construct(**{**dict(self), "tables": {table.name: self[table] for table in tables}})

    def to_json(self) -> str:
        """Canonical JSON with one row of a table on a line."""
        head = [f' "{name}": {dumps(value)}' for name, value in self if name != "tables"]
        return "{\n" + ",\n".join([*head, *(_lines(name, rows) for name, rows in self.tables.items())]) + "\n}\n"


class _Excerpt(Findings):
    """Findings of which a reader has declared the tables that it reads."""

    def __getitem__(self, table: Table[_RowT]) -> tuple[_RowT, ...]:
        if table.name not in self.tables:
            raise LookupError(f"the table {table.name!r} is read, but not declared in `reads`")
        return super().__getitem__(table)


def _lines(name: str, rows: tuple[Row, ...]) -> str:
    lines = ",\n  ".join(dumps(row.model_dump()) for row in rows)
    return f' "{name}": [\n  {lines}\n ]' if rows else f' "{name}": []'


def load(run: Path, tables: Iterable[AnyTable]) -> Findings:
    """Read `analysis.json` back.

    Args:
        run: The run folder.
        tables: What to read; other tables are left out, and those that the file lacks have no rows.

    Raises:
        UserError: The run was not analysed, or by another version of the schema.
        Damaged: The file holds something else.
    """
    path = run / ANALYSIS
    if not path.is_file():
        raise UserError(f"{run} holds no analysis.json; `layersig run` writes it at the end of a run")
    version = read_json(path, AnalysisForm)["schema_version"]
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}; this version of layersig reads "
            f"{SCHEMA_VERSION}. `layersig report {run}` writes it again from the run's files"
        )
    content = read_json(path, dict[str, Any])
    try:
        head = {name: content[name] for name in Findings.model_fields if name in content}
        rows = {
            table: [table.row.model_validate(row) for row in content[table.name]]
            for table in tables
            if table.name in content
        }
        return Findings.model_validate(head).with_rows(rows)
    except (TypeError, ValueError) as error:
        raise Damaged(str(path), first_fault(error)) from error
