"""The card of every unit: a table for every run, the strongest signal first."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.document import Block, Code, Details, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import number, percent
from layersig.topics.card.rows import LAYER_CARDS, LayerCardRow

_SHOWN = 12


def section(material: Material) -> Section | None:
    """None without a run of `whitened-gradient`."""
    rows = material.findings[LAYER_CARDS]
    if not rows:
        return None
    runs: dict[tuple[str, str | None], list[LayerCardRow]] = {}
    for row in rows:
        runs.setdefault((row.scorer, row.data), []).append(row)
    about = Paragraph(
        (
            "The signal says how much of the loss a linear change of the unit could remove where the loss is a "
            "square; a large condition number says that some of it lies in directions which inputs hardly use, so that "
            "gradient descent gets there slowly. The time is that of training the unit alone: a low block is "
            "expensive, because gradients have to reach it. A signal is no evidence that training the unit helps: "
            "for that see the arms, or one unit trained alone.",
        )
    )
    tables = [_table(found) for found in runs.values()]
    blocks: list[Block] = [about, tables[0]]
    if tables[1:]:
        blocks.append(Details("The other runs", tuple(tables[1:])))
    return Section("cards", "Layer cards", tuple(blocks))


def _table(rows: Sequence[LayerCardRow]) -> Table:
    first = rows[0]
    ordered = sorted(rows, key=lambda row: -row.signal)[:_SHOWN]
    errors = f"errors over {first.runs} seeds" if first.runs > 1 else "one seed, so without errors"
    other = "score" if first.scored_by is None else f"score by {first.scored_by}"
    return Table(
        f"{first.scorer} on {first.data}: the {len(ordered)} of {len(rows)} units with the strongest signal; {errors}",
        columns(
            "unit",
            "#signal",
            "#error of the signal",
            "#energy of inputs",
            "#condition",
            "#time alone",
            f"#{other}",
            "#error of the score",
        ),
        tuple(
            (
                Code(row.layer),
                number(row.signal),
                number(row.signal_se),
                number(row.energy),
                number(row.condition),
                percent(row.time),
                number(row.score),
                number(row.score_se),
            )
            for row in ordered
        ),
        "layer_cards.csv",
    )
