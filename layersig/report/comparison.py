"""The report of `layersig compare`: arms of any runs against one reference, in a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layersig.findings.rows.arms import ComparisonRow, SeedDifferenceRow
from layersig.report.comparison_table import comparison_table
from layersig.report.document import Bullets, Document, Section, Step, Steps
from layersig.report.forests import differences
from layersig.report.html import render_html
from layersig.report.markdown import render_markdown
from layersig.report.svg import standalone
from layersig.report.tables import csv_text
from layersig.store.files import write_atomic


def render_comparison(
    rows: Sequence[ComparisonRow], by_seed: Sequence[SeedDifferenceRow], model: str, command: str, folder: Path
) -> Path:
    """Write `report.html`, `report.md`, its figure, `comparisons.csv` and `seed_differences.csv`.

    Args:
        rows: The comparisons, at least one.
        by_seed: The differences of single training runs.
        model: Name of the model.
        command: What a user types to have it made again.
        folder: Where to write.

    Returns:
        The path of `report.html`.
    """
    reference = rows[0].reference
    figure = differences(rows, by_seed, "differences", f"Against {reference}", reference)
    sentences = Bullets(tuple((row.sentence,) for row in rows if row.sentence is not None))
    arms = list(dict.fromkeys(row.arm for row in rows))
    front = (sentences, figure, Steps((Step("To make this comparison again:", command),)))
    page = Document(
        "Comparison",
        (model, "no recipe declares it: every statement is exploratory"),
        f"{', '.join(arms)} against {reference}",
        front,
        (Section("comparisons", "How they differ", (comparison_table(rows),)),),
    )
    files = {"comparisons.csv": csv_text(rows), "seed_differences.csv": csv_text(by_seed)}
    for name, text in files.items():
        write_atomic(folder / name, text)
    write_atomic(folder / "figures" / f"{figure.name}.svg", standalone(figure.svg))
    write_atomic(folder / "report.md", render_markdown(page))
    write_atomic(folder / "report.html", render_html(page, files))
    return folder / "report.html"
