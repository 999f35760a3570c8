"""Whether one score of blocks predicts another, with intervals that know that neighbouring blocks are alike."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.layers import Unit
from layersig.report.topic import Result, Topic
from layersig.topics.block_agreement.compute import block_correlation_rows
from layersig.topics.block_agreement.rows import BLOCK_CORRELATIONS
from layersig.topics.block_agreement.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    tables = evidence.tables if evidence.unit is Unit.BLOCK else ()
    rows = block_correlation_rows(tables, evidence.recipe, evidence.arms.level, evidence.plan.declared_rankings)
    return Result({BLOCK_CORRELATIONS: rows})


TOPIC = Topic("block agreement", tables=(BLOCK_CORRELATIONS,), compute=_compute, section=section, place=172)
