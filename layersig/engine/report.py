"""The report of a run folder: whether it is there, writing it, and what it found."""

from __future__ import annotations

from typing import Any

from layersig.errors import UserError
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.recipe.load import LoadedRecipe
from layersig.store.looks import Looks
from layersig.store.runfolder import RunFolder


def write_report(folder: RunFolder, loaded: LoadedRecipe, status: str, looks: Looks) -> None:
    """Analyse a run and write its report; a report that compares anything counts as a look at the study."""
    from layersig.topics.analyse import analyse
    from layersig.topics.render import render

    findings = analyse(folder.path, loaded.recipe, status)
    render(folder.path)
    if any(findings[table] for table in (RESULTS, RANKINGS)):
        looks.put(loaded.recipe.seeds)


def results(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of results in the report of a run."""
    from layersig.topics.analyse import load

    return [row.model_dump() for row in load(folder.path)[RESULTS]]


def is_readable(folder: RunFolder) -> bool:
    """Whether an earlier start left a report that is still what it wrote."""
    from layersig.topics.analyse import load

    if not (folder.path / "report.html").is_file():
        return False
    try:
        load(folder.path)
    except UserError:
        return False
    return True
