"""Layer cards: what a layer could take off the loss, how well its inputs determine that, and what training it costs."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.card.compute import card_rows
from layersig.topics.card.rows import LAYER_CARDS
from layersig.topics.card.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({LAYER_CARDS: card_rows(evidence)})


TOPIC = Topic("card", tables=(LAYER_CARDS,), compute=_compute, section=section, place=166)
