"""What training one unit alone gains, beside training everything."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.contribution.compute import contribution_rows
from layersig.topics.contribution.rows import CONTRIBUTIONS
from layersig.topics.contribution.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({CONTRIBUTIONS: contribution_rows(evidence)})


TOPIC = Topic("contribution", tables=(CONTRIBUTIONS,), compute=_compute, section=section, place=165)
