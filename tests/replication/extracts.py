"""What the pages need of a finished run: a small file of the numbers in `analysis.json` and the records beside it.

Extracts are committed; pages are made of them alone, so that anyone can make the pages again without the runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXTRACTS = Path(__file__).parents[2] / "docs" / "results" / "extracts"
_DIGITS = 6

Row = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "comparisons": "arm reference role data task metric primary declared estimate low high level margin adjusted_p "
    "family_size detectable n seeds verdict stated_low stated_high stated_level sentence higher_is_better",
    "claims": "arm data task metric declared as_good_p selective_p conclusion sentence seeds n",
    "shares": "arm data task metric primary share shape low high level seeds",
    "assays": "data task metric primary gain low high level moved margin n seeds sentence",
    "results": "arm data task metric primary value low high n seeds",
    "sharing": "scorer checkpoint across cells data ceiling family k of ratio lower level margin adjusted_p tests seeds "
    "verdict sentence corrected corrected_low corrected_high p_different p_exchangeable least_p",
    "stability": "scorer checkpoint data k of quantity value low high level runs data_sets",
    "ceilings": "scorer checkpoint data seeds k of kappa low high level adjusted_p verdict residual residual_low "
    "residual_high",
    "components": "scorer checkpoint component share df low high level",
    "estimators": "a b data runs correlation reliability_a reliability_b corrected shape low high",
    "block_correlations": "a b data runs blocks correlation low high level effective run_low run_high inner inner_low "
    "inner_high residual adjusted_p",
    "texts": "scorer a b text k of kappa ceiling ratio lower adjusted_p",
    "milestones": "kind data checkpoint last k of agreement ceiling share shape low high level required adjusted_p "
    "seeds verdict sentence seconds",
    "sweeps": "sweep quantity series curve arm data task metric primary best best_low best_high slope low high level "
    "adjusted_p declared n seeds sentence",
    "sweep_points": "sweep quantity x curve series arm data task metric primary value difference low high level "
    "in_best_set seeds",
    "dependence": "scorer quantity property k of data_sets seeds statistic value slope low high level adjusted_p verdict "
    "sentence",
    "carried": "ranked_on data arm own task metric primary outcome difference low high level adjusted_p seeds",
    "retention": "arm data task metric primary format base value retention shape low high floor at_floor corrected "
    "corrected_shape corrected_low corrected_high n seeds",
    "retention_classes": "arm data format retention low high corrected tasks corrected_tasks seeds",
    "retention_gaps": "arm kind classification generation gap low high level n seeds",
    "own_responses": "arm own given task metric primary difference low high level adjusted_p n seeds",
    "bridge": "necessity plasticity data blocks runs correlation low high level effective residual p",
    "leaderboard": "scorer data arm task metric k of kept kept_shape kept_low kept_high seconds of_training reads_update "
    "stability stability_low stability_high leave_one_out leave_one_out_corrected leave_one_out_low leave_one_out_high "
    "rule rule_kappa random_p random_verdict rule_difference rule_low rule_high rule_p rule_verdict",
    "cost_sums": "kind stages cached seconds tokens",
    "rigor": "item status evidence",
}
"""What is kept of each table of `analysis.json`."""
_KEPT = {"comparisons": "primary", "shares": "primary", "assays": "primary", "results": "primary", "sweeps": "primary",
         "sweep_points": "primary", "carried": "primary", "retention": "primary", "own_responses": "primary"}  # fmt: skip


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
        rows = [row for row in analysis.get(table, ()) if row.get(_KEPT.get(table, ""), True)]
        if table == "rigor":
            rows = [row for row in rows if row["status"] == "not met"]
        if rows:
            names = [name for name in columns.split() if name in rows[0]]
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
        "model": analysis["model"],
        "seeds": manifest["seeds"],
        "data": list(dict.fromkeys(stage["cell"]["data"] for stage in stages if stage["cell"].get("data"))),
        "trainings": sum(stage["kind"] == "train" for stage in stages),
        "started": manifest.get("started"),
        "seconds": round(sum(stage.get("seconds") or 0.0 for stage in stages), 1),
        "machine": manifest.get("machine"),
        "versions": manifest.get("versions"),
        "planned": manifest.get("plan") is not None,
        "notes": analysis["notes"],
        "warnings": list(dict.fromkeys(text for stage in stages for text in stage.get("warnings") or ())),
    }


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
