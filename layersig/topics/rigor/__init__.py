"""The rigor card and the limitations, filled in from everything else that was found."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, RESULTS, SHARES
from layersig.findings.rows.claims import CLAIMS, EVERY_TASK
from layersig.findings.rows.layers import RANKINGS, SELECTIONS
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.agreement.rows import OVERLAPS
from layersig.topics.block_agreement.rows import BLOCK_CORRELATIONS
from layersig.topics.ceilings.rows import CEILINGS
from layersig.topics.cost.rows import COMPUTE, COSTS, INFERENCE
from layersig.topics.dependence.rows import DEPENDENCE
from layersig.topics.incidents.rows import INCIDENTS
from layersig.topics.judge.rows import JUDGES
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.milestones.rows import MILESTONES
from layersig.topics.rigor.card import rigor_rows
from layersig.topics.rigor.limitations import limitation_rows
from layersig.topics.rigor.rows import LIMITATIONS, RIGOR
from layersig.topics.rigor.section import section
from layersig.topics.stability.rows import JACCARD_MATRIX, OVERLAP_TESTS, RESIDUAL_TESTS, SHARING
from layersig.topics.tuning_cost.rows import TRIALS


def _compute(evidence: Evidence, found: Findings) -> Result:
    files, recipe = evidence.files, evidence.recipe
    limitations = tuple(limitation_rows(found, files, recipe))
    card = rigor_rows(found.with_rows({LIMITATIONS: limitations}), files, recipe)
    return Result({RIGOR: card, LIMITATIONS: limitations})


TOPIC = Topic(
    "rigor",
    tables=(
        RIGOR,
        LIMITATIONS,
    ),
    compute=_compute,
    reads=(
        ASSAYS,
        BLOCK_CORRELATIONS,
        CEILINGS,
        CLAIMS,
        COMPARISONS,
        COMPUTE,
        COSTS,
        DEPENDENCE,
        EVERY_TASK,
        INCIDENTS,
        INFERENCE,
        JACCARD_MATRIX,
        JUDGES,
        MEMORISATION,
        MILESTONES,
        OVERLAPS,
        OVERLAP_TESTS,
        RANKINGS,
        RESIDUAL_TESTS,
        RESULTS,
        SELECTIONS,
        SHARES,
        SHARING,
        TRIALS,
    ),
    section=section,
    place=220,
)
