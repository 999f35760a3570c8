"""Scorers side by side: a join of what other topics found."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.leaderboard.compute import READS, leaderboard_rows
from layersig.topics.leaderboard.rows import LEADERBOARD
from layersig.topics.leaderboard.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    return Result({LEADERBOARD: leaderboard_rows(evidence, found)})


TOPIC = Topic("leaderboard", tables=(LEADERBOARD,), compute=_compute, reads=READS, section=section, place=45)
