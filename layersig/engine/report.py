"""The report of a run folder: whether it is there, writing it, and what it found."""

from __future__ import annotations

from typing import Any

from layersig.errors import UserError
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.recipe.schema import Recipe
from layersig.store.runfolder import RunFolder


def write_report(folder: RunFolder, recipe: Recipe, status: str) -> bool:
    """Analyse a run and write its report.

    Args:
        folder: The run.
        recipe: Its recipe.
        status: What the report says of its end.

    Returns:
        Whether the report is a look at the study: one that shows results or rankings is.
    """
    from layersig.topics.analyse import analyse
    from layersig.topics.render import render

    findings = analyse(folder.path, recipe, status)
    render(folder.path)
    return any(findings[table] for table in (RESULTS, RANKINGS))


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
