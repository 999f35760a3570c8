"""How far rankings agree: overlap of their tops beside chance, and agreement over all depths."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.agreement.compute import agreement_rows, overlap_rows
from layersig.topics.agreement.rows import AGREEMENT, OVERLAPS
from layersig.topics.agreement.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    tables, units, samples = evidence.tables, evidence.units, evidence.samples
    return Result(
        {
            OVERLAPS: overlap_rows(tables, units, evidence.sizes, samples, evidence.recipe.root_seed),
            AGREEMENT: agreement_rows(tables, units, samples),
        }
    )


TOPIC = Topic(
    "agreement",
    tables=(
        OVERLAPS,
        AGREEMENT,
    ),
    compute=_compute,
    section=section,
    place=150,
)
