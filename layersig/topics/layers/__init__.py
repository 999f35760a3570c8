"""Scores and selections: what the scorers say of every layer, and what the arms take."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.rankings import (
    concentration_rows,
    layer_rows,
    ranked_layer_rows,
    ranking_row,
    selected_layer_rows,
    selection_rows,
)
from layersig.findings.rows.layers import (
    CONCENTRATION,
    LAYERS,
    RANKED_LAYERS,
    RANKINGS,
    SELECTED_LAYERS,
    SELECTIONS,
    UNITS,
)
from layersig.findings.tables import Findings
from layersig.layers import Unit
from layersig.report.topic import Result, Topic
from layersig.topics.layers.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    files, tables, units = evidence.files, evidence.tables, evidence.units
    models = [table for table in tables if not table.control]
    selections, layers = evidence.ordered_selections, files.layers
    return Result(
        {
            LAYERS: layer_rows(files.groups(Unit.MODULE)),
            UNITS: units,
            RANKINGS: map(ranking_row, tables),
            RANKED_LAYERS: (row for table in tables for row in ranked_layer_rows(table, units)),
            CONCENTRATION: (
                row for table in models for k in evidence.sizes for row in concentration_rows(table, units, k)
            ),
            SELECTIONS: selection_rows(selections, layers, evidence.recipe) if layers else (),
            SELECTED_LAYERS: selected_layer_rows(selections, layers) if layers else (),
        }
    )


TOPIC = Topic(
    "layers",
    tables=(
        LAYERS,
        UNITS,
        RANKINGS,
        RANKED_LAYERS,
        CONCENTRATION,
        SELECTIONS,
        SELECTED_LAYERS,
    ),
    compute=_compute,
    section=section,
    place=30,
)
