"""What of the untouched model's abilities is left, by task and by format, with the floors."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.retention.compute import class_rows, gap_rows, retention_rows
from layersig.topics.retention.rows import RETENTION, RETENTION_CLASSES, RETENTION_GAPS
from layersig.topics.retention.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    arms, files = evidence.arms, evidence.files
    kept = retention_rows(arms, files.floors, files.task_records)
    return Result({RETENTION: kept, RETENTION_CLASSES: class_rows(arms, kept), RETENTION_GAPS: gap_rows(arms, kept)})


TOPIC = Topic(
    "retention",
    tables=(
        RETENTION,
        RETENTION_CLASSES,
        RETENTION_GAPS,
    ),
    compute=_compute,
    section=section,
    place=90,
)
