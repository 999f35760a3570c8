"""What a score of layers might be measuring other than what it is meant to: place, ties, size, the model alone."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.sanity.compute import sanity_rows, text_rows, tie_rows
from layersig.topics.sanity.rows import SANITY, TEXTS, TIES
from layersig.topics.sanity.section import section
from layersig.topics.stability.rows import SHARING


def _compute(evidence: Evidence, found: Findings) -> Result:
    tables, sizes = evidence.tables, [k for k in evidence.sizes if k < len(evidence.units)]
    return Result(
        {
            SANITY: sanity_rows(tables, sizes, evidence.grid, evidence.arms.level),
            TIES: tie_rows(tables, sizes, evidence.units),
            TEXTS: text_rows(tables, sizes, found[SHARING], evidence.recipe),
        }
    )


TOPIC = Topic("sanity", tables=(SANITY, TIES, TEXTS), compute=_compute, reads=(SHARING,), section=section, place=175)
