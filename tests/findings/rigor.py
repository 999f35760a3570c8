"""Made-up runs, and the rigor card of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layersig.findings.files import RunFiles
from layersig.findings.tables import Findings
from layersig.recipe.schema import AboutSettings, Recipe
from layersig.topics.analyse import analyse
from layersig.topics.rigor.card import rigor_rows
from layersig.topics.rigor.rows import RIGOR, RigorRow
from tests.report.studies import Study
from tests.report.synthetic import write_run

ONE = Study(
    blocks=4, data=("alpaca>sample",), seeds=(0,), tasks=(("arc_easy", 20),), heldout=8, steps=6, declared=False
)
MANY = Study(blocks=4, data=("alpaca",), seeds=(0, 1, 2, 3, 4), tasks=(("arc_easy", 20),), heldout=8, steps=6)


def card(run: Path, study: Study) -> dict[str, RigorRow]:
    return {row.item: row for row in analyse(run, write_run(run, study))[RIGOR]}


@dataclass(frozen=True)
class Analysed:
    """A run, its recipe, and what was found in it."""

    run: Path
    recipe: Recipe
    findings: Findings

    def row(self, item: str) -> RigorRow:
        """A row of the card, filled in from the records as they are now."""
        rows = rigor_rows(self.findings, RunFiles(self.run), self.recipe)
        return next(row for row in rows if row.item == item)

    def saying(self, **about: object) -> Analysed:
        """The same with statements in its recipe."""
        said = AboutSettings.model_validate(about)
        return replace(self, recipe=self.recipe.model_copy(update={"about": said}))

    def changed(self, folder: Path, manifest: dict[str, object]) -> Analysed:
        """The same with another manifest."""
        run = Path(shutil.copytree(self.run, folder / "run"))
        (run / "manifest.json").write_text(json.dumps(manifest))
        return replace(self, run=run)

    @property
    def manifest(self) -> dict[str, Any]:
        """Its manifest, to be changed."""
        found: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())
        return found
