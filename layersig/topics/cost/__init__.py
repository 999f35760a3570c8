"""What the run cost, beside what was planned: time, memory, disk, energy, and the speed of every arm."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.cost.compute import cost_rows, cost_sum_rows
from layersig.topics.cost.machine import compute_rows, inference_rows
from layersig.topics.cost.planned import planned_cost_rows
from layersig.topics.cost.rows import COMPUTE, COST_SUMS, COSTS, INFERENCE, PLANNED_COSTS
from layersig.topics.cost.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    manifest = evidence.files.manifest
    costs = cost_rows(manifest)
    return Result(
        {
            COSTS: costs,
            COST_SUMS: cost_sum_rows(costs),
            COMPUTE: compute_rows(manifest),
            INFERENCE: inference_rows(manifest),
            PLANNED_COSTS: planned_cost_rows(manifest),
        }
    )


TOPIC = Topic(
    "cost",
    tables=(
        COSTS,
        COST_SUMS,
        COMPUTE,
        INFERENCE,
        PLANNED_COSTS,
    ),
    compute=_compute,
    section=section,
    place=180,
)
