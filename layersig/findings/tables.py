"""The whole of `analysis.json`."""

from __future__ import annotations

from layersig.findings.rows.agreement import CurveRow, OverlapRow
from layersig.findings.rows.arms import AssayRow, ComparisonRow, ResultRow, SeedDifferenceRow, SeedResultRow, ShareRow
from layersig.findings.rows.base import Row
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
from layersig.findings.rows.memorisation import MemorisationRow
from layersig.findings.rows.milestones import MilestoneRow, SuccessiveRow, TrainingRow
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
from layersig.records import dumps

SCHEMA_VERSION = 3


class Findings(Row):
    """Everything that the files of a run say, ready to be shown."""

    schema_version: int
    name: str
    id: str
    status: str
    smoke: bool
    model: str
    unit: str
    baseline: str
    alpha: float
    primary_arms: tuple[str, ...] = ()
    """Arms whose comparison with the baseline is confirmatory."""
    primary_scorers: tuple[str, ...] = ()
    """What the report presents first: the scorers that the primary arms read; without arms, the recipe's first that
    looks at the model."""
    further_controls: tuple[str, ...] = ()
    """Random controls behind the first of their arm and match: they stand for chance together, and their values are in
    `results` alone."""
    other_declarations: int
    """Other declarations for the same model on record in the cache when the outcomes were measured: what else could
    have been reported as confirmatory."""
    looks: str | None = None
    """A sentence on seeds that were added or left out after results of the same study had been analysed."""
    sizes: tuple[int, ...]
    """The k at which rankings are compared: the sizes that the arms select."""
    notes: tuple[str, ...]
    """What is missing or could not be computed, and why."""
    layers: tuple[LayerRow, ...]
    """The linear modules, which selections name."""
    units: tuple[LayerRow, ...]
    """What a score covers: the layers themselves, or blocks or parts of them."""
    rankings: tuple[RankingRow, ...]
    ranked_layers: tuple[RankedLayerRow, ...]
    concentration: tuple[ConcentrationRow, ...]
    selections: tuple[SelectionRow, ...]
    selected_layers: tuple[SelectedLayerRow, ...]
    overlaps: tuple[OverlapRow, ...]
    agreement: tuple[CurveRow, ...]
    ceilings: tuple[CeilingRow, ...] = ()
    rank_sets: tuple[RankSetRow, ...] = ()
    top_sets: tuple[TopSetRow, ...] = ()
    stability: tuple[StabilityRow, ...]
    sharing: tuple[SharingRow, ...]
    components: tuple[ComponentRow, ...]
    checkpoints: tuple[CheckpointRow, ...]
    estimators: tuple[EstimatorRow, ...]
    jaccard_matrix: tuple[MatrixRow, ...]
    overlap_tests: tuple[OverlapTestRow, ...]
    residual_tests: tuple[ResidualTestRow, ...]
    bridge: tuple[BridgeRow, ...] = ()
    bridge_blocks: tuple[BridgeBlockRow, ...] = ()
    results: tuple[ResultRow, ...]
    seed_results: tuple[SeedResultRow, ...]
    comparisons: tuple[ComparisonRow, ...]
    assays: tuple[AssayRow, ...] = ()
    seed_differences: tuple[SeedDifferenceRow, ...]
    shares: tuple[ShareRow, ...]
    carried: tuple[CarriedRow, ...] = ()
    sweeps: tuple[SweepRow, ...] = ()
    sweep_points: tuple[SweepPointRow, ...] = ()
    incidents: tuple[IncidentRow, ...] = ()
    retention: tuple[RetentionRow, ...] = ()
    retention_classes: tuple[RetentionClassRow, ...] = ()
    retention_gaps: tuple[RetentionGapRow, ...] = ()
    removal: tuple[RemovalRow, ...] = ()
    recovery: tuple[RecoveryRow, ...] = ()
    failure_counts: tuple[FailureCountRow, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    blocks: tuple[BlockRow, ...] = ()
    block_retention: tuple[BlockRetentionRow, ...] = ()
    block_means: tuple[BlockMeanRow, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    code_errors: tuple[ErrorRow, ...] = ()
    control_sets: tuple[ControlSetRow, ...]
    claims: tuple[ClaimRow, ...]
    every_task: tuple[EveryTaskRow, ...] = ()
    arm_ranks: tuple[ArmRankRow, ...]
    judges: tuple[JudgeRow, ...] = ()
    judged: tuple[JudgedRow, ...] = ()
    judge_noise: tuple[JudgeNoiseRow, ...] = ()
    judge_pairs: tuple[PairRow, ...] = ()
    judge_positions: tuple[PositionRow, ...] = ()
    losses: tuple[LossRow, ...]
    memorisation: tuple[MemorisationRow, ...] = ()
    rigor: tuple[RigorRow, ...]
    limitations: tuple[LimitationRow, ...] = ()
    costs: tuple[CostRow, ...]
    cost_sums: tuple[CostSumRow, ...]
    compute: tuple[ComputeRow, ...] = ()
    inference: tuple[InferenceRow, ...] = ()
    trials: tuple[TrialRow, ...] = ()
    tuning_costs: tuple[TuningCostRow, ...] = ()
    trainings: tuple[TrainingRow, ...] = ()
    successive: tuple[SuccessiveRow, ...] = ()
    milestones: tuple[MilestoneRow, ...] = ()

    def tables(self) -> dict[str, tuple[Row, ...]]:
        """Every table that has rows, by its name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, tuple) and _holds_rows(value)}

    def to_json(self) -> str:
        """Canonical JSON with one row of a table on a line."""
        tables = self.tables()
        lines = []
        for name, value in self:
            if name in tables:
                rows = ",\n  ".join(dumps(row.model_dump()) for row in tables[name])
                lines.append(f' "{name}": [\n  {rows}\n ]')
            else:
                lines.append(f' "{name}": {dumps(value)}')
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _holds_rows(value: tuple[object, ...]) -> bool:
    return bool(value) and isinstance(value[0], Row)
