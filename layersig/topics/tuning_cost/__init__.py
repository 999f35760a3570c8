"""What tuning costs an arm beside all layers, the time that it saves, and the trials of a search."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.rows.layers import SELECTIONS
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.tuning_cost.compute import trial_rows, tuning_cost_rows
from layersig.topics.tuning_cost.rows import TIME_SAVED, TRIALS, TUNING_COSTS
from layersig.topics.tuning_cost.saved import lowest_blocks, time_saved_rows


def _compute(evidence: Evidence, found: Findings) -> Result:
    files = evidence.files
    costs = tuning_cost_rows(files.manifest, found[SELECTIONS], evidence.recipe, files.label)
    lowest = lowest_blocks(files.selections, files.layers)
    saved = time_saved_rows(files.manifest, lowest, evidence.recipe.analyze.alpha, files.label)
    return Result({TRIALS: trial_rows(files), TUNING_COSTS: costs, TIME_SAVED: saved})


TOPIC = Topic(
    "tuning cost",
    tables=(
        TRIALS,
        TUNING_COSTS,
        TIME_SAVED,
    ),
    compute=_compute,
    reads=(SELECTIONS,),
)
