"""Metrics that are computed over all items at once: values, differences and their errors from resamples of the items.

Such a metric is not a mean of items, so nothing that is said of means applies: it has its own estimate, no share of the
gain and no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.resampled import LEAST_DEFINED, estimate_from_resamples
from layersig.analysis.results import Estimate
from layersig.analysis.verdicts import Scope
from layersig.findings.arms import BASE, Arms, ends
from layersig.findings.contrasts import Seeds, Tested, common_seeds, scope_of
from layersig.findings.outcomes import Measure, OutcomeTables
from layersig.findings.rows import ComparisonRow, ResultRow, SeedDifferenceRow, SeedResultRow
from layersig.records import Cell, CorpusValue

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CorpusTables:
    """Every corpus metric of a run.

    Attributes:
        tables: By measure and cell its value, and then its value on every resample, shape (1 + B,); NaN where it is not
            defined.
        n: Items of each measure.
        units: What was resampled, of each measure: items or clusters of items.
    """

    tables: OutcomeTables
    n: Mapping[Measure, int]
    units: Mapping[Measure, int]


def corpus_tables(
    evaluations: Iterable[tuple[Cell, Sequence[CorpusValue]]], directions: Mapping[Measure, bool]
) -> CorpusTables:
    """Sort corpus metrics into tables; an evaluation of other items than the first one's is left out.

    Args:
        evaluations: Corpus metrics by cell.
        directions: Whether higher is better, of measures whose task's definition says it.
    """
    first: dict[Measure, CorpusValue] = {}
    values: dict[Measure, dict[Cell, FloatArray]] = {}
    notes = []
    for cell, found in evaluations:
        for each in found:
            if each.value is None:
                notes.append(f"{cell.key}: {each.metric} of {each.task} is not defined on its items and is left out")
                continue
            measure = Measure(each.task, each.metric, directions.get(Measure(each.task, each.metric)))
            known = first.setdefault(measure, each)
            if (each.items, len(each.replicates)) != (known.items, len(known.replicates)):
                notes.append(f"{cell.key} was evaluated on other items of {measure.task} and is left out there")
                continue
            values.setdefault(measure, {})[cell] = np.array([each.value, *each.replicates], dtype=np.float64)
    ordered = sorted(values)
    return CorpusTables(
        OutcomeTables({}, {measure: values[measure] for measure in ordered}, tuple(notes)),
        {measure: first[measure].n for measure in ordered},
        {measure: first[measure].units for measure in ordered},
    )


@dataclass(frozen=True, slots=True, eq=False)
class CorpusContrast:
    """The difference of two arms in a corpus metric, on the same items, resamples and seeds.

    Attributes:
        arm: The arm in question.
        reference: What it is compared with.
        data: Data set that both were trained on.
        measure: Task and metric.
        seeds: Training runs that both have.
        differences: Arm minus reference, of the value and of every resample, shape (seeds, 1 + B).
        units: What was resampled.
        n: Items.
    """

    arm: str
    reference: str
    data: str | None
    measure: Measure
    seeds: Seeds
    differences: FloatArray
    units: int
    n: int

    @property
    def scope(self) -> Scope:
        """`checkpoints` with one run per arm, else `method`."""
        return scope_of(self.seeds)

    @property
    def value(self) -> float:
        """Mean difference over seeds."""
        return float(self.differences[:, 0].mean())

    @property
    def estimate(self) -> Estimate | None:
        """The difference with its error; None where resamples give none."""
        return _estimate(self.differences, self.units)

    def test(self, _: np.random.Generator) -> Tested:
        """The test that fits the scope."""
        estimate = self.estimate
        if estimate is None:
            return Tested("none: resamples of the items give no spread", None)
        name = "t (items resampled)" if len(self.seeds) == 1 else "t (items resampled, seeds)"
        return Tested(name, estimate.p_value())


def corpus_contrast(
    corpus: CorpusTables, measure: Measure, data: str | None, arm: str, reference: str
) -> CorpusContrast | None:
    """Pair two arms on the seeds that both have; None when they share none."""
    tables = corpus.tables
    seeds = common_seeds(tables, measure, data, arm, reference)
    if not seeds:
        return None
    differences = tables.raw(measure, arm, data, seeds) - tables.raw(measure, reference, data, seeds)
    units, n = corpus.units[measure], corpus.n[measure]
    return CorpusContrast(arm, reference, data, measure, seeds, differences, units, n)


@dataclass(frozen=True)
class CorpusArms:
    """The corpus metrics of a run's arms.

    Attributes:
        corpus: What was measured.
        arms: The arms with their metrics that are means of items.
    """

    corpus: CorpusTables
    arms: Arms

    @cached_property
    def _paired(self) -> Arms:
        """The same arms, as they have corpus metrics: who is compared with whom follows one rule."""
        return Arms(self.corpus.tables, self.arms.recipe, self.arms.plan, self.arms.model)

    def primary(self, measure: Measure) -> bool:
        """Whether a metric speaks for its task: the first by name, where none of the task is a mean of items."""
        if any(other.task == measure.task for other in self.arms.outcomes.values):
            return False
        return measure == min(other for other in self.corpus.tables.values if other.task == measure.task)

    def results(self) -> Iterator[ResultRow]:
        """Value and standard error of every arm on every corpus metric."""
        for measure, arm, data in self._paired.cells():
            if arm in self.arms.plan.further_controls:
                continue
            seeds = self.corpus.tables.seeds(measure, arm, data)
            table = self.corpus.tables.raw(measure, arm, data, seeds)
            estimate = _estimate(table, self.corpus.units[measure])
            low, high = ends(estimate, self.arms.level)
            yield ResultRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.primary(measure),
                higher_is_better=measure.higher_is_better,
                value=float(table[:, 0].mean()),
                se=estimate.se if estimate else None,
                low=low,
                high=high,
                level=self.arms.level,
                n=self.corpus.n[measure],
                clusters=self._clusters(measure),
                seeds=0 if arm == BASE else len(seeds),
                scope=scope_of(seeds).value,
            )

    def seed_results(self) -> Iterator[SeedResultRow]:
        """The value of every training run on every corpus metric."""
        for measure, arm, data in self._paired.cells():
            seeds = self.corpus.tables.seeds(measure, arm, data)
            for seed, row in zip(seeds, self.corpus.tables.raw(measure, arm, data, seeds), strict=True):
                yield SeedResultRow(
                    arm=arm, data=data, seed=seed, task=measure.task, metric=measure.metric, value=float(row[0])
                )

    def comparisons(self) -> Iterator[ComparisonRow]:
        """Every arm against the baseline and its controls, without a verdict."""
        plan = self.arms.plan
        for measure, data, arm, reference, role in self._paired.pairings():
            if (found := corpus_contrast(self.corpus, measure, data, arm, reference)) is None:
                continue
            estimate, tested = found.estimate, found.test(np.random.default_rng(0))
            low, high = ends(estimate, self.arms.level)
            outcome = plan.is_outcome(measure, data)
            yield ComparisonRow(
                arm=arm,
                reference=reference,
                role=role,
                outcome=outcome,
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.primary(measure),
                higher_is_better=measure.higher_is_better,
                estimate=found.value,
                se=estimate.se if estimate else None,
                df=estimate.df if estimate and isfinite(estimate.df) else None,
                low=low,
                high=high,
                level=self.arms.level,
                margin=plan.margin(measure),
                test=tested.name,
                p=tested.p,
                family=None,
                adjusted_p=None,
                half_width=None if estimate is None else estimate.interval(self.arms.level).half_width,
                detectable=None,
                bootstrap_low=None,
                bootstrap_high=None,
                n=found.n,
                clusters=self._clusters(measure),
                seeds=len(found.seeds),
                scope=found.scope.value,
                declared=role == "baseline" and outcome and plan.declared(found),
                verdict=None,
                sentence=None,
            )

    def seed_differences(self) -> Iterator[SeedDifferenceRow]:
        """The comparisons, one training run at a time."""
        for measure, data, arm, reference, _ in self._paired.pairings():
            if (found := corpus_contrast(self.corpus, measure, data, arm, reference)) is None:
                continue
            for seed, row in zip(found.seeds, found.differences, strict=True):
                yield SeedDifferenceRow(
                    arm=arm,
                    reference=reference,
                    data=data,
                    seed=seed,
                    task=measure.task,
                    metric=measure.metric,
                    difference=float(row[0]),
                )

    def notes(self) -> Iterator[str]:
        """What a reader has to know of the corpus metrics of every task."""
        by_task: dict[str, list[Measure]] = {}
        for measure in self.corpus.tables.values:
            by_task.setdefault(measure.task, []).append(measure)
        for task, measures in by_task.items():
            names = ", ".join(measure.metric for measure in measures)
            tables = [row for measure in measures for row in self.corpus.tables.values[measure].values()]
            draws = min(row.size - 1 for row in tables)
            yield (
                f"{task}: {names} {'is' if len(measures) == 1 else 'are'} computed over all items at once, not as a "
                f"mean of items. Errors and p-values come from {draws} resamples of the items, the same in every arm; "
                "no verdict is given."
            )
            missing = max(float(np.isnan(row[1:]).mean()) for row in tables)
            if missing > 1 - LEAST_DEFINED:
                yield (
                    f"{task}: a metric is not defined on {missing:.0%} of the resamples in some arm, and has no "
                    "interval there; evaluate more items."
                )

    def _clusters(self, measure: Measure) -> int | None:
        units = self.corpus.units[measure]
        return units if units < self.corpus.n[measure] else None


def _estimate(table: FloatArray, units: int) -> Estimate | None:
    return estimate_from_resamples(table[:, 0], table[:, 1:], units)
