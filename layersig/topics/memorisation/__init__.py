"""Whether the model knows the benchmarks by heart."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.memorisation.compute import memorisation_rows
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.memorisation.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({MEMORISATION: memorisation_rows(evidence.files, evidence.recipe.analyze.alpha)})


TOPIC = Topic("memorisation", tables=(MEMORISATION,), compute=_compute, section=section, place=200)
