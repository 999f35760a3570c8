"""What a report is made of: the findings of a run, and the records that findings leave as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import (
    ASSAYS,
    COMPARISONS,
    RESULTS,
    SHARES,
    AssayRow,
    ComparisonRow,
    ResultRow,
    ShareRow,
)
from layersig.findings.rows.claims import ControlSetRow
from layersig.findings.rows.layers import RANKINGS, SELECTIONS, RankingRow
from layersig.findings.tables import Findings


class _OfRanking(Protocol):
    @property
    def scorer(self) -> str: ...
    @property
    def data(self) -> str | None: ...
    @property
    def checkpoint(self) -> float | None: ...


_OfRankingT = TypeVar("_OfRankingT", bound=_OfRanking)


@dataclass(frozen=True)
class Material:
    """Everything that the sections of a report read.

    Attributes:
        run: The run folder.
        findings: `analysis.json`.
        files: The records of the run.
    """

    run: Path
    findings: Findings
    files: RunFiles

    @property
    def manifest(self) -> Mapping[str, Any]:
        """`manifest.json`."""
        return self.files.manifest

    def text(self, name: str) -> str | None:
        """A text file of the run folder; None when it is absent."""
        path = self.run / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    @cached_property
    def lead(self) -> tuple[RankingRow, ...]:
        """The rankings that the report presents first: the last ones of the primary scorers."""
        ranked = [row for row in self.findings[RANKINGS] if not row.control] or list(self.findings[RANKINGS])
        first = [row for row in ranked if row.scorer in self.findings.primary_scorers]
        first = first or [row for row in ranked if row.scorer == ranked[0].scorer]
        last = max((row.checkpoint or 0.0 for row in first), default=0.0)
        return tuple(row for row in first if (row.checkpoint or 0.0) == last)

    @cached_property
    def leading_arms(self) -> tuple[str, ...]:
        """The selective arms, the primary ones first."""
        primary = self.findings.primary_arms
        return tuple(sorted(self.selective_arms, key=lambda arm: arm not in primary))

    @cached_property
    def selective_arms(self) -> tuple[str, ...]:
        """Arms that select by a scorer which looks at the model, in the order of the recipe."""
        arms = [row for row in self.findings[SELECTIONS] if row.scorers and not row.control]
        return tuple(dict.fromkeys(row.arm for row in arms))

    @cached_property
    def primary_measures(self) -> tuple[Measure, ...]:
        """The one metric of every task that figures show; held-out losses first."""
        found = {measure_of(row) for row in self.findings[RESULTS] if row.primary}
        return tuple(sorted(found, key=lambda measure: (not measure.task.startswith(f"{HELDOUT}/"), measure)))

    def own_measure(self, data: str | None) -> Measure | None:
        """What arms trained on a data set are first judged by: the declared outcome, else the first measure."""
        declared = [measure_of(r) for r in self.findings[COMPARISONS] if r.outcome and r.primary and r.data == data]
        return next(iter(declared or self.primary_measures), None)

    def result(self, measure: Measure, arm: str, data: str | None) -> ResultRow | None:
        """What an arm scored."""
        rows = self.findings[RESULTS]
        return next((r for r in rows if measure_of(r) == measure and r.arm == arm and r.data in (data, None)), None)

    def comparison(self, measure: Measure, arm: str, data: str | None, role: str) -> ComparisonRow | None:
        """How an arm differs from the baseline, or from its random control."""
        for row in self.findings[COMPARISONS]:
            if measure_of(row) == measure and (row.arm, row.data, row.role) == (arm, data, role):
                return row
        return None

    def assay(self, measure: Measure, data: str | None) -> AssayRow | None:
        """What all layers do to the untouched model there."""
        for row in self.findings[ASSAYS]:
            if (row.task, row.metric, row.data) == (measure.task, measure.metric, data):
                return row
        return None

    def share(self, measure: Measure, arm: str, data: str | None) -> ShareRow | None:
        """What an arm keeps of the gain."""
        for row in self.findings[SHARES]:
            if measure_of(row) == measure and (row.arm, row.data) == (arm, data):
                return row
        return None


def measure_of(row: ResultRow | ComparisonRow | ShareRow | ControlSetRow | AssayRow) -> Measure:
    """Task and metric of a row."""
    return Measure(row.task, row.metric, None if isinstance(row, ShareRow) else row.higher_is_better)


def rows_of(ranking: RankingRow, rows: Iterable[_OfRankingT]) -> list[_OfRankingT]:
    """The rows about a ranking."""
    place = (ranking.scorer, ranking.data, ranking.checkpoint)
    return [row for row in rows if (row.scorer, row.data, row.checkpoint) == place]


def place_of(data: str | None, checkpoint: float | None = None) -> str:
    """Where a ranking or an arm stands: its data set, and the checkpoint where it is not the end."""
    parts = [data or "no data"]
    if checkpoint is not None and checkpoint != 1:
        parts.append(f"at {checkpoint:.0%} of the reference training")
    return ", ".join(parts)
