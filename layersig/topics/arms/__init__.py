"""What the arms score, and how they differ."""

from __future__ import annotations

from layersig.findings.corpus import corpus_notes
from layersig.findings.evidence import Evidence
from layersig.findings.leakage import leak_notes, shot_notes
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, RESULTS, SEED_DIFFERENCES, SEED_RESULTS, SHARES
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.arms.corpus import corpus_results, corpus_seed_results
from layersig.topics.arms.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    arms, corpus = evidence.arms, evidence.corpus
    return Result(
        {
            RESULTS: (*arms.results(), *corpus_results(arms)),
            SEED_RESULTS: (*arms.seed_results(), *corpus_seed_results(arms)),
            COMPARISONS: evidence.conclusions.comparisons,
            ASSAYS: arms.assays(),
            SEED_DIFFERENCES: arms.seed_differences(),
            SHARES: arms.shares(),
        },
        (
            *leak_notes(evidence.recipe),
            *shot_notes(evidence.files.task_records),
            *evidence.outcomes.notes,
            *corpus.tables.notes,
            *corpus_notes(corpus),
        ),
    )


TOPIC = Topic(
    "arms",
    tables=(
        RESULTS,
        SEED_RESULTS,
        COMPARISONS,
        ASSAYS,
        SEED_DIFFERENCES,
        SHARES,
    ),
    compute=_compute,
    section=section,
    place=40,
)
