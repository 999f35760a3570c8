"""What is left as more blocks are removed."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.removal.compute import removal_rows
from layersig.topics.removal.rows import REMOVAL
from layersig.topics.removal.section import section
from layersig.topics.retention.rows import RETENTION, RETENTION_CLASSES


def _compute(evidence: Evidence, found: Findings) -> Result:
    tasks, formats = found[RETENTION], found[RETENTION_CLASSES]
    rows = removal_rows(evidence.arms, tasks, formats, evidence.selections, evidence.files.layers)
    return Result({REMOVAL: rows})


TOPIC = Topic(
    "removal",
    tables=(REMOVAL,),
    compute=_compute,
    reads=(
        RETENTION,
        RETENTION_CLASSES,
    ),
    section=section,
    place=100,
)
