"""From the files of a run to a page: `report.html`, `report.md`, `figures/*.svg` and a CSV for every table."""

from __future__ import annotations

from pathlib import Path

from layersig.report.contents import document
from layersig.report.html import render_html
from layersig.report.markdown import render_markdown
from layersig.report.material import Material
from layersig.report.svg import standalone
from layersig.report.tables import csv_text
from layersig.store.files import write_atomic

__all__ = ["render"]


def render(run: Path) -> Path:
    """Render the report of an analysed run from its files alone.

    Args:
        run: The run folder; it holds `manifest.json` and `analysis.json`.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: The folder is no run, or was not analysed.
    """
    material = Material.read(run)
    whole = document(material)
    for name, rows in material.findings.tables().items():
        write_atomic(run / f"{name}.csv", csv_text(rows))
    for figure in whole.figures():
        write_atomic(run / "figures" / f"{figure.name}.svg", standalone(figure.svg))
    write_atomic(run / "report.md", render_markdown(whole))
    page = run / "report.html"
    write_atomic(page, render_html(whole))
    return page
