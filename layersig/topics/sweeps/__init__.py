"""Sweeps over a setting of the arms: curves, trends and optima."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.rows.sweeps import SWEEP_POINTS, SWEEPS
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.sweeps.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    sweeps = evidence.conclusions.sweeps
    return Result({SWEEPS: evidence.conclusions.curves, SWEEP_POINTS: sweeps.point_rows()}, sweeps.notes())


TOPIC = Topic(
    "sweeps",
    tables=(
        SWEEPS,
        SWEEP_POINTS,
    ),
    compute=_compute,
    section=section,
    place=60,
)
