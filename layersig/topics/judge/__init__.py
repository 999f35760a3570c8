"""What a judge model says of the answers."""

from __future__ import annotations

from layersig.findings.evidence import Evidence
from layersig.findings.tables import Findings
from layersig.report.topic import Result, Topic
from layersig.topics.judge.compute import judge_rows, judged_rows, noise_rows
from layersig.topics.judge.pairs import pair_rows, position_rows
from layersig.topics.judge.records import JudgeRecords
from layersig.topics.judge.rows import JUDGE_NOISE, JUDGE_PAIRS, JUDGE_POSITIONS, JUDGED, JUDGES
from layersig.topics.judge.section import section


def _compute(evidence: Evidence, found: Findings) -> Result:
    arms, records = evidence.arms, JudgeRecords(evidence.files)
    return Result(
        {
            JUDGES: judge_rows(evidence.files),
            JUDGED: judged_rows(records, arms),
            JUDGE_NOISE: noise_rows(records, arms),
            JUDGE_PAIRS: pair_rows(records, arms),
            JUDGE_POSITIONS: position_rows(records, arms),
        }
    )


TOPIC = Topic(
    "judge",
    tables=(
        JUDGES,
        JUDGED,
        JUDGE_NOISE,
        JUDGE_PAIRS,
        JUDGE_POSITIONS,
    ),
    compute=_compute,
    section=section,
    place=130,
)
