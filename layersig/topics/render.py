"""From the files of a run to a page: `report.html`, `report.md`, `figures/*.svg` and a CSV for every table."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from layersig.findings.files import RunFiles
from layersig.plugin.guard import cause, raises_plugin_errors
from layersig.plugin.trace import traced
from layersig.report.document import Callout, Document, Section
from layersig.report.html import render_html
from layersig.report.markdown import render_markdown
from layersig.report.material import Material
from layersig.report.svg import standalone
from layersig.report.tables import csv_text
from layersig.report.topic import Topic
from layersig.store.files import write_atomic
from layersig.topics.analyse import load
from layersig.topics.front.facts import facts
from layersig.topics.front.page import first_screen
from layersig.topics.front.warnings import warnings
from layersig.topics.registry import all_topics


def render(run: Path) -> Path:
    """Render the report of an analysed run from its files alone.

    Args:
        run: The run folder; it holds `manifest.json` and `analysis.json`.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: The folder is no run, or was not analysed.
    """
    material = material_of(run)
    page = document(material)
    files = {f"{name}.csv": csv_text(rows) for name, rows in material.findings.tables.items() if rows}
    for name, text in files.items():
        write_atomic(run / name, text)
    for figure in page.figures():
        write_atomic(run / "figures" / f"{figure.name}.svg", standalone(figure.svg))
    write_atomic(run / "report.md", render_markdown(page))
    target = run / "report.html"
    write_atomic(target, render_html(page, files))
    return target


def material_of(run: Path) -> Material:
    """What the report of an analysed run is made of.

    Raises:
        UserError: The folder is no run, or was not analysed.
    """
    return Material(run, load(run), RunFiles(run))


def document(material: Material) -> Document:
    """The whole report; a section that has nothing to say is left out."""
    findings = material.findings
    headline, front = first_screen(material)
    topics = sorted(all_topics()[0], key=lambda topic: topic.place)
    sections = tuple(section for topic in topics if (section := _section(topic, material)) is not None)
    return Document(
        f"{findings.name}/{findings.id}", facts(material), headline, (*warnings(material), *front), sections
    )


def _section(topic: Topic, material: Material) -> Section | None:
    """The section of a topic; of a plugin's that fails, a warning in its place."""
    computed = material.findings.tables
    if topic.section is None or (topic.plugin and any(table.name not in computed for table in topic.tables)):
        return None  # What failed in the analysis has its note there.
    try:
        work = partial(topic.section, material)
        return work() if topic.plugin is None else traced(f"{topic.label}: section", work)
    except Exception as error:
        if topic.plugin is None or raises_plugin_errors():
            raise
        text = f"The {topic.label} is left out: {cause(error, topic.section.__module__)}"
        return Section(topic.name, topic.name.capitalize(), (Callout("warning", "A plugin failed", ((text,),)),))
