"""How the losses of the trainings went."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.training.compute import loss_rows
from layersig.topics.training.rows import LOSSES
from layersig.topics.training.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    files = evidence.files
    return Result({LOSSES: loss_rows(files.losses(), evidence.recipe, files.label)})


TOPIC = Topic("training", tables=(LOSSES,), compute=_compute, section=section, place=140)
