"""Metrics that are computed over all items at once: values, differences and their errors from resamples of the items.

Such a metric is not a mean of items, so nothing that is said of means applies: it has its own estimate, no share of the
gain and no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.looks import EffectAtLook
from layersig.analysis.resampled import LEAST_DEFINED, estimate_from_resamples
from layersig.analysis.results import Effect, Estimate, Interval
from layersig.analysis.sentences import Correction, estimation
from layersig.analysis.verdicts import Scope
from layersig.findings.contrasts import NamedTest, Seeds, claim_of, common_seeds, named, scope_of, single_run_of
from layersig.findings.outcomes import Measure, OutcomeTables
from layersig.records import Cell, CorpusValue

FloatArray = NDArray[np.float64]

_NO_VERDICT = "the metric is computed over all items at once"


@dataclass(frozen=True, slots=True)
class CorpusTables:
    """Every corpus metric of a run.

    Attributes:
        tables: By measure and cell its value, and then its value on every resample, shape (1 + B,); NaN where it is not
            defined.
        n: Items of each measure.
        units: What was resampled, of each measure: items or clusters of items.
    """

    tables: OutcomeTables = field(default_factory=lambda: OutcomeTables({}, {}, ()))
    n: Mapping[Measure, int] = field(default_factory=dict)
    units: Mapping[Measure, int] = field(default_factory=dict)

    def primary(self, measure: Measure) -> bool:
        """Whether a metric comes first by name among those of its task."""
        return measure == min(other for other in self.tables.values if other.task == measure.task)

    def n_clusters(self, measure: Measure) -> int | None:
        """Number of clusters; None when every item stands alone."""
        units = self.units[measure]
        return units if units < self.n[measure] else None

    def estimate(self, measure: Measure, table: FloatArray) -> Estimate | None:
        """Mean over runs of rows of `tables`, or of differences of such rows; None where resamples give no error."""
        return estimate_from_resamples(table[:, 0], table[:, 1:], self.units[measure])

    def no_interval(self, measure: Measure, table: FloatArray) -> str | None:
        """Why `estimate` gives none; None where it gives one."""
        return None if self.estimate(measure, table) is not None else "resamples of the items give no spread"


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
        corpus: The tables that it comes from.
        single_run: The side that is a single training run, compared with several of the other; None elsewhere.
        other_data: Data set that the reference was trained on, where it is another one than that of the arm.
    """

    arm: str
    reference: str
    data: str | None
    measure: Measure
    seeds: Seeds
    differences: FloatArray
    corpus: CorpusTables
    single_run: str | None = None
    other_data: str | None = None

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Data sets that the two were trained on."""
        return named(self.data, self.other_data)

    @property
    def scope(self) -> Scope:
        """What the difference is about."""
        return scope_of(self.seeds, self.single_run)

    @property
    def value(self) -> float:
        """Mean difference over seeds."""
        return float(self.differences[:, 0].mean())

    @property
    def by_seed(self) -> list[float]:
        """Difference of every training run."""
        return [float(row[0]) for row in self.differences]

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters; None when every item stands alone."""
        return self.corpus.n_clusters(self.measure)

    @property
    def n_strata(self) -> int | None:
        """Resamples know no strata."""
        return None

    @property
    def n(self) -> int:
        """Items."""
        return self.corpus.n[self.measure]

    @property
    def estimate(self) -> Effect | None:
        """The difference with its error; None where `no_interval` says why."""
        found, look = self.corpus.estimate(self.measure, self.differences), self.corpus.tables.look_at(self.seeds)
        return found if found is None or look is None else EffectAtLook(found, look)

    @property
    def no_interval(self) -> str | None:
        """Why there is neither interval nor test; None where there are."""
        return self.corpus.no_interval(self.measure, self.differences)

    def detectable(self, alpha: float) -> None:
        """Not known: nothing says how the error falls with the number of items."""

    def bootstrap(self, rng: np.random.Generator, draws: int, level: float) -> None:
        """None: the interval is that of a bootstrap already."""

    def test(self, rng: np.random.Generator) -> NamedTest:
        """The test that fits the scope."""
        estimate = self.estimate
        if estimate is None:
            return NamedTest(f"none: {self.no_interval}", None)
        name = "t (items resampled)" if len(self.seeds) == 1 else "t (items resampled, seeds)"
        return NamedTest(name, estimate.p_value())

    def estimation(self, model: str, correction: Correction | None, alpha: float) -> tuple[str, Interval] | None:
        """The difference with its interval and no verdict."""
        if (estimate := self.estimate) is None:
            return None
        return estimation(estimate, claim_of(self, model), correction, alpha, why=_NO_VERDICT)


def corpus_contrast(
    corpus: CorpusTables, measure: Measure, data: str | None, arm: str, reference: str
) -> CorpusContrast | None:
    """Pair two arms on the seeds that both have; None when they share none."""
    tables = corpus.tables
    seeds = common_seeds(tables, measure, data, arm, reference)
    if not seeds:
        return None
    differences = tables.raw(measure, arm, data, seeds) - tables.raw(measure, reference, data, seeds)
    single_run = single_run_of(tables, measure, data, arm, reference)
    return CorpusContrast(arm, reference, data, measure, seeds, differences, corpus, single_run)


def corpus_notes(corpus: CorpusTables) -> Iterator[str]:
    """What a reader has to know of the corpus metrics of every task."""
    by_task: dict[str, list[Measure]] = {}
    for measure in corpus.tables.values:
        by_task.setdefault(measure.task, []).append(measure)
    for task, measures in by_task.items():
        names = ", ".join(measure.metric for measure in measures)
        tables = [row for measure in measures for row in corpus.tables.values[measure].values()]
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
