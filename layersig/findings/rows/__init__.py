"""The schema of `analysis.json`: flat tables of rows, each written as a CSV too.

A number that a figure or a sentence of the report shows stands in one of these rows. Absent numbers are null: what
could not be computed, and the ends of intervals that are infinite.
"""

from layersig.findings.rows.agreement import CurveRow, OverlapRow
from layersig.findings.rows.arms import AssayRow, ComparisonRow, ResultRow, SeedDifferenceRow, SeedResultRow, ShareRow
from layersig.findings.rows.base import Role, Row, Scope
from layersig.findings.rows.blocks import BlockMeanRow, BlockRetentionRow, BlockRow
from layersig.findings.rows.bridge import BridgeBlockRow, BridgeRow
from layersig.findings.rows.carried import CarriedRow
from layersig.findings.rows.ceilings import CeilingRow
from layersig.findings.rows.claims import (
    ArmRankRow,
    ClaimRow,
    ControlSetRow,
    EveryTaskRow,
    LimitationRow,
    RigorRow,
    RigorStatus,
)
from layersig.findings.rows.dependence import DataPropertyRow, DependenceRow
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
from layersig.findings.rows.memorisation import MemorisationRow
from layersig.findings.rows.milestones import MilestoneRow, SuccessiveRow, TrainingRow
from layersig.findings.rows.model_studies import BridgeSummaryRow, ModelBridgeRow, ModelSizeRow, ModelTrendRow
from layersig.findings.rows.models import ModelCeilingRow, ModelPairRow
from layersig.findings.rows.own_responses import OwnResponsesRow
from layersig.findings.rows.pruned import FailureCountRow, FailureRow, RecoveryRow, RemovalRow
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
from layersig.findings.rows.sweeps import SweepPointRow, SweepRow
from layersig.findings.rows.training import (
    ComputeRow,
    CostRow,
    CostSumRow,
    InferenceRow,
    LossRow,
    TrialRow,
    TuningCostRow,
)
from layersig.findings.rows.whole import SCHEMA_VERSION, Findings

__all__ = [
    "SCHEMA_VERSION",
    "ArmRankRow",
    "AssayRow",
    "BlockMeanRow",
    "BlockRetentionRow",
    "BlockRow",
    "BridgeBlockRow",
    "BridgeRow",
    "BridgeSummaryRow",
    "CarriedRow",
    "CeilingRow",
    "CheckpointRow",
    "ClaimRow",
    "ComparisonRow",
    "ComponentRow",
    "ComputeRow",
    "ConcentrationRow",
    "ControlSetRow",
    "CostRow",
    "CostSumRow",
    "CurveRow",
    "DataPropertyRow",
    "DependenceRow",
    "ErrorRow",
    "EstimatorRow",
    "EveryTaskRow",
    "FailureCountRow",
    "FailureRow",
    "Findings",
    "IncidentRow",
    "InferenceRow",
    "JudgeNoiseRow",
    "JudgeRow",
    "JudgedRow",
    "LayerRow",
    "LimitationRow",
    "LossRow",
    "MatrixRow",
    "MemorisationRow",
    "MilestoneRow",
    "ModelBridgeRow",
    "ModelCeilingRow",
    "ModelPairRow",
    "ModelSizeRow",
    "ModelTrendRow",
    "OverlapRow",
    "OverlapTestRow",
    "OwnResponsesRow",
    "PairRow",
    "PositionRow",
    "ProbeRow",
    "RankSetRow",
    "RankedLayerRow",
    "RankingRow",
    "RecoveryRow",
    "RemovalRow",
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
    "SuccessiveRow",
    "SweepPointRow",
    "SweepRow",
    "TopSetRow",
    "TrainingRow",
    "TrialRow",
    "TuningCostRow",
]
