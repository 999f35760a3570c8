"""The leaderboard: rows of other topics, joined by scorer, data set, arm and size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from layersig.analysis.as_good import MIN_SEEDS_FOR_ONE_CONTROL
from layersig.findings.evidence import Evidence
from layersig.findings.files import HELDOUT, RunFiles
from layersig.findings.outcomes import Measure
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.arms import COMPARISONS, SHARES, ComparisonRow
from layersig.findings.rows.base import AnyTable
from layersig.findings.rows.claims import CONTROL_SETS
from layersig.findings.tables import Findings
from layersig.recipe.schema import Arm
from layersig.records import Cell
from layersig.topics.leaderboard.rows import LeaderRow
from layersig.topics.sanity.compute import FITTED
from layersig.topics.sanity.rows import SANITY, TEXTS, TIES
from layersig.topics.stability.rows import ESTIMATORS, STABILITY

READS: tuple[AnyTable, ...] = (SHARES, COMPARISONS, CONTROL_SETS, STABILITY, ESTIMATORS, SANITY, TIES, TEXTS)
_REFERENCE = "leave-one-out"


def leaderboard_rows(evidence: Evidence, found: Findings) -> Iterator[LeaderRow]:
    """Every scorer that looks at the model, on each data set and with each arm that reads it alone.

    None with fewer than two such scorers.

    Args:
        evidence: The run.
        found: The tables of `READS`.
    """
    tables = _last([table for table in evidence.tables if not table.control])
    if len({table.cell.scorer for table in tables}) < 2:
        return
    join = _Join(evidence, found)
    for table in tables:
        arms = [arm for arm in evidence.recipe.arms if _reads_alone(arm, table.cell.scorer, evidence)]
        measured: list[tuple[str | None, str | None]] = [
            (arm.name, data) for arm in arms for data in join.data_of(arm.name) if table.cell.data in (data, None)
        ]
        for arm, data in measured or [(None, table.cell.data)]:
            yield join.row(table, arm, data)


def _last(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """Of a scorer at several checkpoints, the last one, which arms read."""
    last: dict[tuple[str | None, str | None], ScoreTable] = {}
    for table in tables:
        place = table.cell.scorer, table.cell.data
        if place not in last or (table.cell.checkpoint or 1.0) > (last[place].cell.checkpoint or 1.0):
            last[place] = table
    return list(last.values())


def _reads_alone(arm: Arm, scorer: str | None, evidence: Evidence) -> bool:
    own = arm.scorers == (scorer,) and not arm.rankings_of and arm.action != "prune"
    return own and not evidence.recipe.is_control(arm)


@dataclass(frozen=True)
class _Join:
    """Looks up what other topics found about a scorer and its arm."""

    evidence: Evidence
    found: Findings

    def data_of(self, arm: str) -> list[str | None]:
        """Data sets on which an arm was compared."""
        return list(dict.fromkeys(row.data for row in self.found[COMPARISONS] if row.arm == arm))

    def row(self, table: ScoreTable, arm: str | None, data: str | None) -> LeaderRow:
        k = self._size(arm, data)
        scorer = table.cell.scorer or ""
        return LeaderRow(
            scorer=scorer,
            kind=self.evidence.recipe.scorers[scorer].kind,
            data=data,
            arm=arm,
            k=k,
            of=len(self.evidence.units),
            **_cost(self.evidence.files, table.cell),
            **self._ranking(table.cell, data, k),
            **self._worth(arm, data),
        )

    def _size(self, arm: str | None, data: str | None) -> int:
        """Units that the arm selects; without an arm, the first size at which rankings are compared."""
        for selected in self.evidence.selections:
            if selected.cell.arm == arm and selected.cell.data in (data, None):
                chosen = set(selected.selection.layers)
                return sum(all(each.name in chosen for each in group.members) for group in self.evidence.groups)
        return self.evidence.sizes[0] if self.evidence.sizes else 0

    def _ranking(self, cell: Cell, data: str | None, k: int) -> dict[str, Any]:
        """What is known of the ranking itself."""
        place = cell.scorer or "", cell.checkpoint, cell.data
        of_size = [
            row for row in self.found[STABILITY] if (row.scorer, row.checkpoint, row.data) == place and row.k == k
        ]
        stable = next((row for row in of_size if row.quantity == "within"), None)
        rules = [row for row in self.found[SANITY] if (row.scorer, row.checkpoint, row.data) == place and row.k == k]
        nearest = max((row for row in rules if row.rule != FITTED), key=lambda row: row.kappa, default=None)
        ties = (row for row in self.found[TIES] if (row.scorer, row.checkpoint, row.data) == place and row.k == k)
        name = (data or "").partition(">")[0]
        texts = (
            row.ratio
            for row in self.found[TEXTS]
            if (row.scorer, row.a, row.text, row.k) == (cell.scorer, name, "random-tokens", k)
        )
        return {
            "stability": None if stable is None else stable.value,
            "stability_low": None if stable is None else stable.low,
            "stability_high": None if stable is None else stable.high,
            "rule": None if nearest is None else nearest.rule,
            "rule_kappa": None if nearest is None else nearest.kappa,
            "nonsense": next(texts, None),
            "open_places": next((row.undecided for row in ties), None),
            **self._leave_one_out(cell.scorer, data),
        }

    def _leave_one_out(self, scorer: str | None, data: str | None) -> dict[str, Any]:
        exact = {name for name, choice in self.evidence.recipe.scorers.items() if choice.kind == _REFERENCE}
        pairs = (
            row
            for row in self.found[ESTIMATORS]
            if row.data == data and scorer in (row.a, row.b) and ({row.a, row.b} - {scorer}) & exact
        )
        row = next(pairs, None)
        corrected = row is not None and row.corrected is not None and row.shape == "interval"
        return {
            "leave_one_out": None if row is None else row.corrected if corrected else row.correlation,
            "leave_one_out_corrected": corrected,
            "leave_one_out_low": row.low if row is not None and corrected else None,
            "leave_one_out_high": row.high if row is not None and corrected else None,
        }

    def _worth(self, arm: str | None, data: str | None) -> dict[str, Any]:
        """What the arm keeps, and how it compares with random sets and the rule."""
        measure = self._measure(arm, data)
        shares = (row for row in self.found[SHARES] if _about(row, arm, data, measure))
        share = next(shares, None)
        compared = {row.reference: row for row in self.found[COMPARISONS] if _about(row, arm, data, measure)}
        plan = self.evidence.plan
        rule, one = (compared.get(control(arm or "") or "") for control in (plan.rule_control, plan.random_control))
        return {
            "task": None if measure is None else measure.task,
            "metric": None if measure is None else measure.metric,
            "kept": None if share is None else share.share,
            "kept_shape": None if share is None else share.shape,
            "kept_low": None if share is None else share.low,
            "kept_high": None if share is None else share.high,
            "rule_difference": None if rule is None else rule.estimate,
            "rule_low": None if rule is None else rule.low,
            "rule_high": None if rule is None else rule.high,
            "rule_p": None if rule is None else rule.adjusted_p,
            "rule_verdict": None if rule is None else rule.verdict,
            **self._random(arm, data, measure, one),
        }

    def _measure(self, arm: str | None, data: str | None) -> Measure | None:
        own = [row for row in self.found[COMPARISONS] if row.arm == arm and row.data == data and row.primary]
        measures = [Measure(row.task, row.metric, row.higher_is_better) for row in own]
        declared = [measure for measure in measures if self.evidence.plan.is_outcome(measure, data)]
        heldout = [measure for measure in measures if measure.task == f"{HELDOUT}/{data}"]
        return next(iter(declared or heldout or measures), None)

    def _random(
        self, arm: str | None, data: str | None, measure: Measure | None, one: ComparisonRow | None
    ) -> dict[str, Any]:
        sets = (
            row
            for row in self.found[CONTROL_SETS]
            if _about(row, arm, data, measure) and row.match == "types" and row.adjusted_p is not None
        )
        if (among := next(sets, None)) is not None and among.adjusted_p is not None:
            better = among.adjusted_p <= self.evidence.plan.alpha
            verdict = "better" if better else "not shown to be better"
            return {"random_sets": among.sets, "random_p": among.adjusted_p, "random_verdict": verdict}
        if one is None:
            return {"random_sets": 0, "random_p": None, "random_verdict": None}
        if one.seeds < MIN_SEEDS_FOR_ONE_CONTROL:
            return {"random_sets": 1, "random_p": None, "random_verdict": None}
        return {"random_sets": 1, "random_p": one.adjusted_p, "random_verdict": one.verdict}


def _about(row: Any, arm: str | None, data: str | None, measure: Measure | None) -> bool:
    asked = None if measure is None else (measure.task, measure.metric)
    return (row.arm, row.data) == (arm, data) and (row.task, row.metric) == asked


def _cost(files: RunFiles, cell: Cell) -> dict[str, Any]:
    """Seconds of one ranking, and what they are of one reference training on the same data."""
    stages: Sequence[Mapping[str, Any]] = files.manifest["stages"]
    place = cell.scorer, cell.data, cell.checkpoint
    own = [each for each in stages if each["kind"] == "score" and _place(files, each) == place]
    seconds = [each["seconds"] for each in own if each.get("seconds") is not None]
    trained = [
        each["seconds"]
        for each in stages
        if each["kind"] == "reference" and each.get("seconds") and cell.data in (files.cell(each["cell"]).data, None)
    ]
    mean = fmean(seconds) if seconds else None
    return {
        "seconds": mean,
        "of_training": mean / fmean(trained) if mean is not None and trained else None,
        "reads_update": any({"update", "checkpoints"} & set(each.get("inputs", ())) for each in own),
    }


def _place(files: RunFiles, stage: Mapping[str, Any]) -> tuple[str | None, str | None, float | None]:
    cell = files.cell(stage["cell"])
    return cell.scorer, cell.data, cell.checkpoint
