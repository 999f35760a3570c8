"""Sweeps over blocks: what each of them does to every quantity that was measured."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.blocks.compute import block_rows
from layersig.topics.blocks.retention import block_retention_rows
from layersig.topics.blocks.rows import BLOCK_MEANS, BLOCK_RETENTION, BLOCKS
from layersig.topics.blocks.section import section
from layersig.topics.blocks.sweep import block_sweeps


def _compute(evidence: Evidence, found: Findings) -> Result:
    recipe = evidence.recipe
    sweeps = block_sweeps(evidence.files, evidence.stratified)
    tasks, means = block_retention_rows(sweeps, recipe, evidence.files.model_name)
    return Result({BLOCKS: block_rows(sweeps, recipe), BLOCK_RETENTION: tasks, BLOCK_MEANS: means})


TOPIC = Topic(
    "blocks",
    tables=(
        BLOCKS,
        BLOCK_RETENTION,
        BLOCK_MEANS,
    ),
    compute=_compute,
    section=section,
    place=80,
)
