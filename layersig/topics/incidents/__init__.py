"""Answers that went wrong: cut, empty, or not parsed."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.incidents.compute import incident_rows
from layersig.topics.incidents.rows import INCIDENTS
from layersig.topics.incidents.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({INCIDENTS: incident_rows(evidence.files)})


TOPIC = Topic("incidents", tables=(INCIDENTS,), compute=_compute, section=section, place=70)
