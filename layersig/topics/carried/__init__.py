"""What of the effect of a selection carries over to other data sets."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.carried.compute import carried_rows
from layersig.topics.carried.rows import CARRIED
from layersig.topics.carried.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({CARRIED: carried_rows(evidence.arms)})


TOPIC = Topic("carried", tables=(CARRIED,), compute=_compute, section=section, place=50)
