"""What the pages need of a finished run: a small file of the numbers in `analysis.json` and the records beside it.

Extracts are committed; pages are made of them alone, so that anyone can make the pages again without the runs.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersig.findings.files import model_name
from layersig.stages.kinds import SPECS, Training

EXTRACTS = Path(__file__).parents[2] / "docs" / "results" / "extracts"
_DIGITS = 6

Row = Mapping[str, Any]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    table: tuple(names.split())
    for table, names in tomllib.loads(Path(__file__).with_name("columns.toml").read_text(encoding="utf-8")).items()
}
"""What is kept of each table of `analysis.json`, of the primary metrics alone."""


@dataclass(frozen=True)
class Extract:
    """The numbers of one run.

    Attributes:
        part: Name of the part.
        record: Id, status, model, seeds, data sets, machine, versions, seconds and warnings of the run.
        tables: Rows by table.
    """

    part: str
    record: Row
    tables: Mapping[str, Sequence[Row]]

    def rows(self, table: str, **wanted: object) -> list[Row]:
        """The rows of a table whose columns have these values."""
        found = self.tables.get(table, ())
        return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def extract(part: str, run: Path) -> Extract:
    """Read a finished run."""
    analysis = json.loads((run / "analysis.json").read_text(encoding="utf-8"))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    tables = {}
    for table, columns in COLUMNS.items():
        rows = [row for row in analysis.get(table, ()) if row.get("primary", True)]
        if table == "rigor":
            rows = [row for row in rows if row["status"] == "not met"]
        if rows:
            names = [name for name in columns if name in rows[0]]
            tables[table] = [{name: _short(row[name]) for name in names} for row in rows]
    return Extract(part, _record(analysis, manifest), tables)


def write(found: Extract, folder: Path = EXTRACTS) -> Path:
    """Write an extract, a row a line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.part}.json"
    path.write_text("".join(_lines(found)), encoding="utf-8")
    return path


def read(part: str, folder: Path = EXTRACTS) -> Extract | None:
    """The extract of a part; None where it was not run."""
    path = folder / f"{part}.json"
    if not path.is_file():
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    tables = {
        name: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for name, table in value["tables"].items()
    }
    return Extract(part, value["record"], tables)


def _lines(found: Extract) -> Iterator[str]:
    yield f'{{\n"record": {json.dumps(found.record)},\n"tables": {{'
    for number, (name, rows) in enumerate(found.tables.items()):
        yield f'{"," if number else ""}\n"{name}": {{"columns": {json.dumps(list(rows[0]))}, "rows": [\n'
        yield ",\n".join(json.dumps(list(row.values())) for row in rows)
        yield "\n]}"
    yield "\n}}\n"


def _record(analysis: Row, manifest: Row) -> dict[str, Any]:
    stages = manifest["stages"]
    return {
        "name": manifest["name"],
        "id": manifest["id"],
        "status": manifest["status"],
        "model": model_name(analysis["model"]),
        "seeds": manifest["seeds"],
        "data": {source["name"]: _named(source) for source in manifest["sources"] if source["role"] == "data"},
        "trainings": sum(issubclass(SPECS[stage["kind"]], Training) for stage in stages),
        "started": manifest.get("started"),
        "seconds": round(sum(stage.get("seconds") or 0.0 for stage in stages), 1),
        "machine": manifest.get("machine"),
        "versions": manifest.get("versions"),
        "planned": manifest.get("plan") is not None,
        "notes": analysis["notes"],
        "warnings": list(dict.fromkeys(text for stage in stages for text in stage.get("warnings") or ())),
    }


def _named(source: Row) -> str:
    """A source by its name, or that of its file, and the start of its digest."""
    kind, _, reference = source["spec"].partition(":")
    name = Path(reference).name if kind == "file" else source["spec"]
    return f"{name} {(source['digest'] or source['revision'] or '')[:12]}".strip()


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
