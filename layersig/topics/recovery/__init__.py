"""What tuning brings back after removal."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.recovery.compute import recovery_rows
from layersig.topics.recovery.rows import RECOVERY
from layersig.topics.recovery.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({RECOVERY: recovery_rows(evidence.arms, evidence.responses)})


TOPIC = Topic("recovery", tables=(RECOVERY,), compute=_compute, section=section, place=110)
