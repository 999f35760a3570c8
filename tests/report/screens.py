"""First screens of made-up runs, and their parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from layersig.findings.tables import Findings
from layersig.report.document import Callout, Table, Text, plain
from layersig.report.material import Material
from layersig.topics.analyse import analyse
from layersig.topics.front.chosen import composition
from layersig.topics.front.page import first_screen
from layersig.topics.front.standings import places_of
from layersig.topics.render import material_of
from tests.report.studies import Study
from tests.report.synthetic import write_run

STUDY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3), tasks=(("arc_easy", 20),), heldout=8, steps=4)


def lines(run: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    found = [change(json.loads(line)) for line in (run / "scores.jsonl").read_text().splitlines()]
    (run / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))


def analysed(run: Path, study: Study, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Material:
    recipe = write_run(run, study)
    recipe = recipe.model_copy(update={"analyze": recipe.analyze.model_copy(update={"resamples": 100})})
    if change is not None:
        lines(run, change)
    analyse(run, recipe)
    return material_of(run)


def headline(material: Material) -> str:
    return first_screen(material)[0]


def block(material: Material, kind: type) -> Any:
    return next((found for found in first_screen(material)[1] if isinstance(found, kind)), None)


def limits(material: Material) -> str:
    found = block(material, Callout)
    return "\n".join(plain(item) for item in found.items) if found else ""


def cells(material: Material, arm: str) -> dict[str, str]:
    """The row of an arm by the heads of the table."""
    table: Table = block(material, Table)
    (row,) = [row for row in table.rows if plain(row[:1]).split(" ")[0] == arm]
    return {column.head: plain((cell,)) for column, cell in zip(table.columns, row, strict=True)}


def which(material: Material) -> Text:
    return composition(material, places_of(material)[0])


def changed(
    material: Material, table: str, only: Callable[[Any], bool] = lambda row: True, **update: object
) -> Material:
    rows = [row.model_copy(update=update) if only(row) else row for row in material.findings.tables[table]]
    findings: Findings = material.findings.model_copy(
        update={"tables": {**material.findings.tables, table: tuple(rows)}}
    )
    return replace(material, findings=findings)


def shuffled(seed: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    rng = np.random.default_rng(seed)

    def change(line: dict[str, Any]) -> dict[str, Any]:
        names = list(line["scores"])
        return {**line, "scores": dict(zip(names, rng.uniform(size=len(names)).tolist(), strict=True))}

    return change
