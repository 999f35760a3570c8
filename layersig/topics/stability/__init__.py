"""What a ranking is worth: agreement over seeds, data sets, checkpoints and estimators, with tests."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.stability.estimators import estimator_rows, matrix_rows, residual_test_notes, residual_test_rows
from layersig.topics.stability.overlap_tests import overlap_test_rows
from layersig.topics.stability.replicates import replicates
from layersig.topics.stability.rows import (
    CHECKPOINTS,
    COMPONENTS,
    ESTIMATORS,
    JACCARD_MATRIX,
    OVERLAP_TESTS,
    RESIDUAL_TESTS,
    SHARING,
    STABILITY,
)
from layersig.topics.stability.section import section
from layersig.topics.stability.sharing import sharing_rows
from layersig.topics.stability.variation import checkpoint_rows, component_rows, stability_rows


def _compute(evidence: Evidence, found: Findings) -> Result:
    recipe, tables, sizes, grid = evidence.recipe, evidence.tables, evidence.sizes, evidence.grid
    level = evidence.arms.level
    runs = replicates(tables, recipe)
    return Result(
        {
            STABILITY: (row for each in runs for row in stability_rows(each, sizes, grid, level)),
            SHARING: sharing_rows(runs, sizes, evidence.files.model_name, recipe, evidence.plan.declared_rankings),
            COMPONENTS: (row for each in runs for row in component_rows(each, grid, level)),
            CHECKPOINTS: checkpoint_rows(tables, sizes, recipe),
            ESTIMATORS: estimator_rows(tables, level),
            JACCARD_MATRIX: matrix_rows(tables, sizes, recipe, level),
            OVERLAP_TESTS: overlap_test_rows(tables, sizes, grid, recipe),
            RESIDUAL_TESTS: residual_test_rows(tables, grid, recipe, level),
        },
        residual_test_notes(tables, grid),
    )


TOPIC = Topic(
    "stability",
    tables=(
        STABILITY,
        SHARING,
        COMPONENTS,
        CHECKPOINTS,
        ESTIMATORS,
        JACCARD_MATRIX,
        OVERLAP_TESTS,
        RESIDUAL_TESTS,
    ),
    compute=_compute,
    section=section,
    place=170,
)
