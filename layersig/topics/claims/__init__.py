"""The claim "as good as all layers", random sets of equal budget, and the ranks that arms may hold."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.findings.claims import arm_rank_rows, every_task_rows
from layersig.findings.controls import control_set_rows
from layersig.findings.evidence import Evidence
from layersig.findings.rows.claims import ARM_RANKS, CLAIMS, CONTROL_SETS, EVERY_TASK
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic


def _compute(evidence: Evidence, found: Findings) -> Result:
    arms, claims = evidence.arms, evidence.conclusions.claims
    return Result(
        {
            CONTROL_SETS: control_set_rows(arms),
            CLAIMS: claims,
            EVERY_TASK: every_task_rows(arms, claims),
            ARM_RANKS: arm_rank_rows(arms),
        },
        (*_unrated(evidence), *_idle_margins(evidence)),
    )


def _unrated(evidence: Evidence) -> Iterator[str]:
    for measure, count in evidence.outcomes.unrated.items():
        if count:
            yield (
                f"{measure.task}: {count} turns have no valid grade in some arm or seed, and are left out of all of "
                "them."
            )


def _idle_margins(evidence: Evidence) -> Iterator[str]:
    """A sentence on margins that nothing uses; none before anything was measured."""
    measured = evidence.outcomes.values
    names = ", ".join(sorted({measure.metric for measure in measured}))
    for name in evidence.plan.idle_margins(measured):
        if names:
            yield f"analyze.margins gives one for {name}, which no task reported; measured were: {names}."


TOPIC = Topic(
    "claims",
    tables=(
        CONTROL_SETS,
        CLAIMS,
        EVERY_TASK,
        ARM_RANKS,
    ),
    compute=_compute,
)
