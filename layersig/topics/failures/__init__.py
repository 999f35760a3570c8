"""What the untouched model solves and an arm does not, with examples."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.failures.compute import failure_rows
from layersig.topics.failures.rows import FAILURE_COUNTS, FAILURES
from layersig.topics.failures.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    counts, examples = failure_rows(evidence.files, evidence.outcomes, evidence.recipe.root_seed)
    return Result({FAILURE_COUNTS: counts, FAILURES: examples})


TOPIC = Topic(
    "failures",
    tables=(
        FAILURE_COUNTS,
        FAILURES,
    ),
    compute=_compute,
    section=section,
    place=120,
)
