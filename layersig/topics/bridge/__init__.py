"""Whether blocks that are needed are also those that learn: rankings by necessity beside those by tuning."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.bridge.compute import bridge_block_rows, bridge_notes, bridge_pairs, bridge_rows
from layersig.topics.bridge.rows import BRIDGE, BRIDGE_BLOCKS
from layersig.topics.bridge.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    files, recipe = evidence.files, evidence.recipe
    pairs = bridge_pairs(files.rankings, files.layers, recipe)
    rows = {BRIDGE: bridge_rows(pairs, recipe), BRIDGE_BLOCKS: bridge_block_rows(pairs)}
    return Result(rows, bridge_notes(files.layers, recipe))


TOPIC = Topic(
    "bridge",
    tables=(
        BRIDGE,
        BRIDGE_BLOCKS,
    ),
    compute=_compute,
    section=section,
    place=160,
)
