"""The report on several models: how far their rankings agree, each carried over to the layers of every other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from layersig.findings.files import RunFiles
from layersig.findings.rows.base import Row
from layersig.jsonform import dumps
from layersig.report.charts.matrix import Entry, Matrix, matrices
from layersig.report.document import (
    Block,
    Bullets,
    Code,
    Column,
    Document,
    Figure,
    Inline,
    Paragraph,
    Section,
    Table,
    columns,
)
from layersig.report.html import render_html
from layersig.report.markdown import render_markdown
from layersig.report.material import Material
from layersig.report.numbers import fixed, p_value, percent, plural
from layersig.report.svg import described, draw, standalone
from layersig.report.tables import csv_text
from layersig.store.files import write_atomic
from layersig.topics.across_models.front import answers, whether_shared
from layersig.topics.across_models.rankings import RankedModel, model_ceiling_rows, model_notes, model_pair_rows
from layersig.topics.across_models.rows import ModelCeilingRow, ModelPairRow
from layersig.topics.across_models.studies import Studies, repeated_models, study_sections
from layersig.topics.analyse import load

_NONE = "\u2013"


def render_models(study: str, models: Sequence[RankedModel], folder: Path) -> Path:
    """Compare the rankings of several models and write `report.html`, `report.md`, `models.json`, CSVs and figures.

    Args:
        study: Name of the study.
        models: Its models, whose runs are complete.
        folder: Folder of all runs; the report goes to `NAME/models-ID` below it, by what it was made of.

    Returns:
        The path of `report.html`.
    """
    key = hashlib.sha256("\n".join(f"{model.name} {model.run.name}" for model in models).encode()).hexdigest()[:12]
    place = folder / study / f"models-{key}"
    place.mkdir(parents=True, exist_ok=True)
    materials = {model.name: Material(model.run, load(model.run), RunFiles(model.run)) for model in models}
    found = {name: material.findings for name, material in materials.items()}
    repeated = repeated_models(found)
    distinct = [model for model in models if model.name not in repeated]
    pairs, ceilings = model_pair_rows(distinct), tuple(model_ceiling_rows(distinct))
    same = (
        f"{name} is the same model as {other} in these runs, and its rankings are not compared."
        for name, other in repeated.items()
    )
    notes = (*model_notes(distinct), *same)
    studies = Studies.of(found, models, ceilings, pairs)
    tables: dict[str, tuple[Row, ...]] = {"model_pairs": pairs, "model_ceilings": ceilings, **studies.tables()}
    value = {name: [row.model_dump() for row in rows] for name, rows in tables.items()}
    runs = {model.name: f"{model.run.parent.name}/{model.run.name}" for model in models}
    write_atomic(place / "models.json", dumps({"study": study, "runs": runs, "notes": list(notes), **value}) + "\n")
    files = {f"{name}.csv": csv_text(rows) for name, rows in tables.items() if rows}
    for name, text in files.items():
        write_atomic(place / name, text)
    whole = _document(study, models, materials, key, pairs, ceilings, notes, studies)
    for figure in whole.figures():
        write_atomic(place / "figures" / f"{figure.name}.svg", standalone(figure.svg))
    write_atomic(place / "report.md", render_markdown(whole))
    write_atomic(place / "report.html", render_html(whole, files))
    return place / "report.html"


def _document(
    study: str,
    models: Sequence[RankedModel],
    materials: Mapping[str, Material],
    key: str,
    pairs: Sequence[ModelPairRow],
    ceilings: Sequence[ModelCeilingRow],
    notes: Sequence[str],
    studies: Studies,
) -> Document:
    facts = (", ".join(model.name for model in models), plural(len(models[0].recipe.seeds), "seed"))
    about = Paragraph(
        (
            "A ranking is carried to another model by module type and relative depth, each seed by itself, and set "
            "beside that model's own ranking of the covered layers. Kappa is 0 at chance and 1 for equal sets; seeds "
            "are never paired with themselves. The ceiling is the agreement of two seeds of one model; the verdict "
            "compares the ratio of the two with the margin of the recipe, corrected for all rows. The residual "
            "correlation leaves out module type and smooth depth; its p is against surrogates as smooth over depth, "
            "corrected by Holm's method.",
        )
    )
    blocks: list[Block] = [about]
    if pairs:
        blocks += [Bullets(tuple((row.sentence,) for row in pairs)), _pairs(pairs)]
    runs: list[Block] = [_runs(models)]
    if ceilings:
        runs.append(_ceilings(ceilings))
    sections = (
        Section("models", "Rankings across models", tuple(blocks)),
        *study_sections(studies),
        Section("runs", "Runs", tuple(runs)),
    )
    front = answers(materials, pairs, notes, _figures(pairs))
    return Document(f"{study}/models-{key}", facts, whether_shared(pairs), front, sections)


def _figures(pairs: Sequence[ModelPairRow]) -> list[Block]:
    if not pairs:
        return []
    names = tuple(dict.fromkeys(row.source for row in pairs) | dict.fromkeys(row.target for row in pairs))
    drawn = []
    for scorer, data in dict.fromkeys((row.scorer, row.data) for row in pairs):
        own = [row for row in pairs if (row.scorer, row.data) == (scorer, data)]
        share = min(row.k / row.of for row in own)
        entries = tuple(
            Entry(row.source, row.target, row.kappa, row.sentence)
            for row in own
            if row.k / row.of == min(r.k / r.of for r in own if (r.source, r.target) == (row.source, row.target))
        )
        drawn.append(Matrix(f"{scorer}{f' on {data}' if data else ''}, top {share:.0%}", names, entries))
    alt = "Kappa of the ranking of the model of the row on the layers of the model of the column, beside its own."
    caption = (
        "Kappa: 0 is chance, 1 the same layers. Rows: whose ranking. Columns: on whose layers. The smallest share of "
        "layers that arms select."
    )
    svg = described(draw(matrices(drawn), "models"), alt)
    return [Figure("models", "Agreement of models", svg, alt, caption, ("model_pairs.csv",))]


def _pairs(pairs: Sequence[ModelPairRow]) -> Table:
    heads = columns(
        "scorer", "data", "ranking of", "on layers of", "#coverage", "#k", "#of", "#kappa", "#ceiling", "#ratio",
        "#lower bound", "verdict", "#residual correlation", "#p, corrected", "#S",
    )  # fmt: skip
    return Table("Every direction", heads, tuple(map(_line, pairs)), "model_pairs.csv")


def _line(row: ModelPairRow) -> tuple[Inline, ...]:
    return (
        row.scorer,
        row.data or _NONE,
        row.source,
        row.target,
        percent(row.coverage),
        str(row.k),
        str(row.of),
        _between(row.kappa, row.low, row.high),
        _NONE if row.ceiling is None else _between(row.ceiling, row.ceiling_low, row.ceiling_high),
        fixed(row.ratio, 2),
        fixed(row.lower, 2),
        row.verdict or _NONE,
        fixed(row.correlation, 2),
        p_value(row.adjusted_p),
        str(row.seeds),
    )


def _between(value: float, low: float | None, high: float | None) -> str:
    return fixed(value, 2) if low is None or high is None else f"{fixed(value, 2)} [{fixed(low, 2)}, {fixed(high, 2)}]"


def _ceilings(rows: Sequence[ModelCeilingRow]) -> Table:
    heads = columns("model", "scorer", "data", "#k", "#of", "#kappa of two seeds", "#S")
    body = tuple(
        (
            row.model,
            row.scorer,
            row.data or _NONE,
            str(row.k),
            str(row.of),
            _between(row.kappa, row.low, row.high),
            str(row.seeds),
        )
        for row in rows
    )
    return Table("How far the seeds of one model agree", heads, body, "model_ceilings.csv")


def _runs(models: Sequence[RankedModel]) -> Table:
    heads = (Column("model"), Column("source"), Column("run"), Column("layers", True))
    body = tuple(
        (
            model.name,
            Code(model.recipe.model.source),
            Code(f"{model.run.parent.name}/{model.run.name}"),
            str(len(model.groups)),
        )
        for model in models
    )
    return Table("A run of its own for every model, with a report of its own", heads, body)
