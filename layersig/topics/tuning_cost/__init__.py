"""What tuning costs an arm beside all layers, and the trials of a search."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.rows.layers import SELECTIONS
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.tuning_cost.compute import trial_rows, tuning_cost_rows
from layersig.topics.tuning_cost.rows import TRIALS, TUNING_COSTS


def _compute(evidence: Evidence, found: Findings) -> Result:
    files = evidence.files
    costs = tuning_cost_rows(files.manifest, found[SELECTIONS], evidence.recipe, files.label)
    return Result({TRIALS: trial_rows(files), TUNING_COSTS: costs})


TOPIC = Topic(
    "tuning cost",
    tables=(
        TRIALS,
        TUNING_COSTS,
    ),
    compute=_compute,
    reads=(SELECTIONS,),
)
