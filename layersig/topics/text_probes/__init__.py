"""What probes show in the answers that arms write, and how their programs end."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.text_probes.compute import error_rows, probe_rows
from layersig.topics.text_probes.rows import CODE_ERRORS, PROBES


def _compute(evidence: Evidence, found: Findings) -> Result:
    texts = evidence.responses
    return Result({PROBES: probe_rows(texts, evidence.arms.level), CODE_ERRORS: error_rows(texts)})


TOPIC = Topic(
    "text probes",
    tables=(
        PROBES,
        CODE_ERRORS,
    ),
    compute=_compute,
)
