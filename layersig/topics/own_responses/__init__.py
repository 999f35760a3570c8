"""Training on the model's own responses against training on given ones."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.own_responses.compute import own_responses_rows
from layersig.topics.own_responses.rows import OWN_RESPONSES
from layersig.topics.own_responses.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({OWN_RESPONSES: own_responses_rows(evidence.arms, evidence.selections)})


TOPIC = Topic("own responses", tables=(OWN_RESPONSES,), compute=_compute, section=section, place=115)
