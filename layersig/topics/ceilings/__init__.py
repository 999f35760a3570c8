"""Noise ceilings: how well the seeds of a ranking agree, and the ranks that single layers may hold."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.ceilings.compute import ceiling_rows
from layersig.topics.ceilings.rank_sets import rank_set_rows, top_set_rows
from layersig.topics.ceilings.rows import CEILINGS, RANK_SETS, TOP_SETS


def _compute(evidence: Evidence, found: Findings) -> Result:
    tables, sizes, alpha = evidence.tables, evidence.sizes, evidence.recipe.analyze.alpha
    rank_sets = rank_set_rows(tables, evidence.units, alpha)
    return Result(
        {
            CEILINGS: ceiling_rows(tables, sizes, evidence.grid, evidence.arms.level, alpha),
            RANK_SETS: rank_sets,
            TOP_SETS: top_set_rows(rank_sets, tables, sizes),
        }
    )


TOPIC = Topic(
    "ceilings",
    tables=(
        CEILINGS,
        RANK_SETS,
        TOP_SETS,
    ),
    compute=_compute,
)
