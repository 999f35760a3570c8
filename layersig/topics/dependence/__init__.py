"""What the agreement of rankings depends on: size, diversity and origin of the data."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.dependence.compute import data_property_rows, dependence_rows
from layersig.topics.dependence.rows import DATA_PROPERTIES, DEPENDENCE
from layersig.topics.dependence.section import section
from layersig.topics.stability.replicates import replicates


def _compute(evidence: Evidence, found: Findings) -> Result:
    files, recipe = evidence.files, evidence.recipe
    runs = replicates(evidence.tables, recipe)
    return Result(
        {
            DATA_PROPERTIES: data_property_rows(files),
            DEPENDENCE: dependence_rows(runs, evidence.sizes, files, recipe, evidence.plan.declared_rankings),
        }
    )


TOPIC = Topic(
    "dependence",
    tables=(
        DATA_PROPERTIES,
        DEPENDENCE,
    ),
    compute=_compute,
    section=section,
    place=175,
)
