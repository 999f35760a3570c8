"""How rankings settle in the course of the reference training."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.milestones.compute import milestone_rows, successive_rows, training_rows, with_time
from layersig.topics.milestones.rows import MILESTONES, SUCCESSIVE, TRAININGS


def _compute(evidence: Evidence, found: Findings) -> Result:
    tables, sizes, recipe = evidence.tables, evidence.sizes, evidence.recipe
    trainings = tuple(training_rows(evidence.files))
    return Result(
        {
            TRAININGS: trainings,
            SUCCESSIVE: successive_rows(tables, sizes, recipe),
            MILESTONES: with_time(milestone_rows(tables, sizes, recipe, evidence.plan.declared_rankings), trainings),
        }
    )


TOPIC = Topic(
    "milestones",
    tables=(
        TRAININGS,
        SUCCESSIVE,
        MILESTONES,
    ),
    compute=_compute,
)
