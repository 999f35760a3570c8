"""The schema of `analysis.json`: flat tables of rows, each written as a CSV too.

A number that a figure or a sentence of the report shows stands in one of these rows. Absent numbers are null: what
could not be computed, and the ends of intervals that are infinite.
"""

from layersig.findings.rows.agreement import CurveRow, OverlapRow
from layersig.findings.rows.arms import AssayRow, ComparisonRow, ResultRow, SeedDifferenceRow, SeedResultRow, ShareRow
from layersig.findings.rows.base import Role, Row, Scope
from layersig.findings.rows.bridge import BridgeBlockRow, BridgeRow
from layersig.findings.rows.ceilings import CeilingRow
from layersig.findings.rows.claims import (
    ArmRankRow,
    ClaimRow,
    ControlSetRow,
    EveryTaskRow,
    RigorRow,
    RigorStatus,
)
from layersig.findings.rows.incidents import IncidentRow
from layersig.findings.rows.judged import JudgedRow, JudgeNoiseRow, JudgeRow, PairRow, PositionRow
from layersig.findings.rows.layers import (
    ConcentrationRow,
    LayerRow,
    RankedLayerRow,
    RankingRow,
    RankSetRow,
    SelectedLayerRow,
    SelectionRow,
    TopSetRow,
)
from layersig.findings.rows.retention import ErrorRow, ProbeRow, RetentionClassRow, RetentionGapRow, RetentionRow
from layersig.findings.rows.stability import (
    CheckpointRow,
    ComponentRow,
    EstimatorRow,
    MatrixRow,
    OverlapTestRow,
    ResidualTestRow,
    SharingRow,
    StabilityRow,
)
from layersig.findings.rows.training import CostRow, CostSumRow, LossRow, TrialRow, TuningCostRow
from layersig.findings.rows.whole import SCHEMA_VERSION, Findings

__all__ = [
    "SCHEMA_VERSION",
    "ArmRankRow",
    "AssayRow",
    "BridgeBlockRow",
    "BridgeRow",
    "CeilingRow",
    "CheckpointRow",
    "ClaimRow",
    "ComparisonRow",
    "ComponentRow",
    "ConcentrationRow",
    "ControlSetRow",
    "CostRow",
    "CostSumRow",
    "CurveRow",
    "ErrorRow",
    "EstimatorRow",
    "EveryTaskRow",
    "Findings",
    "IncidentRow",
    "JudgeNoiseRow",
    "JudgeRow",
    "JudgedRow",
    "LayerRow",
    "LossRow",
    "MatrixRow",
    "OverlapRow",
    "OverlapTestRow",
    "PairRow",
    "PositionRow",
    "ProbeRow",
    "RankSetRow",
    "RankedLayerRow",
    "RankingRow",
    "ResidualTestRow",
    "ResultRow",
    "RetentionClassRow",
    "RetentionGapRow",
    "RetentionRow",
    "RigorRow",
    "RigorStatus",
    "Role",
    "Row",
    "Scope",
    "SeedDifferenceRow",
    "SeedResultRow",
    "SelectedLayerRow",
    "SelectionRow",
    "ShareRow",
    "SharingRow",
    "StabilityRow",
    "TopSetRow",
    "TrialRow",
    "TuningCostRow",
]
