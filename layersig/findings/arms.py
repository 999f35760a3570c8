"""What each arm scores, how it differs from others on the same items and seeds, and what of the gain it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from layersig.analysis.assay import Assay, AssayResult
from layersig.analysis.results import Effect
from layersig.analysis.retention import ratio_bootstrap_items
from layersig.analysis.verdicts import Scope
from layersig.findings.contrasts import Contrast, Seeds, contrast, scope_of
from layersig.findings.corpus import CorpusContrast, CorpusTables, corpus_contrast
from layersig.findings.outcomes import Measure, OutcomeTables
from layersig.findings.plan import Plan
from layersig.findings.rows.arms import AssayRow, ResultRow, SeedDifferenceRow, SeedResultRow, ShareRow
from layersig.findings.rows.base import Role
from layersig.findings.shown import finite_set
from layersig.recipe.schema import ALL_LAYERS, BASE, RESERVED_ARMS, Recipe
from layersig.streams import Streams


@dataclass(frozen=True)
class Arms:
    """The arms of a run and how they are to be compared.

    Attributes:
        outcomes: What was measured, as means of items.
        recipe: The recipe.
        plan: What it declares about comparisons.
        model: Name of the model, for sentences.
        corpus: Metrics that are computed over all items at once.
    """

    outcomes: OutcomeTables
    recipe: Recipe
    plan: Plan
    model: str
    corpus: CorpusTables = field(default_factory=CorpusTables)

    @property
    def level(self) -> float:
        """Coverage of intervals."""
        return 1 - self.plan.alpha

    @cached_property
    def evaluated(self) -> frozenset[tuple[Measure, str, str | None]]:
        """Everything that `cells` goes through."""
        return frozenset(self.cells())

    def results(self) -> Iterator[ResultRow]:
        """Value and standard error of every arm on every measure."""
        for measure, arm, data in self.cells():
            seeds = self.outcomes.seeds(measure, arm, data)
            table = self.outcomes.units(measure, arm, data, seeds)
            estimate, items = self.outcomes.level(measure, table), self.outcomes.items[measure]
            low, high = ends(estimate, self.level)
            yield ResultRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.outcomes.primary(measure),
                higher_is_better=measure.higher_is_better,
                value=float(table.mean()),
                se=estimate.se if estimate else None,
                low=low,
                high=high,
                level=self.level,
                no_interval=self.outcomes.no_level(measure, table),
                n=len(items.names),
                clusters=items.n_clusters,
                strata=items.n_strata,
                seeds=0 if arm == BASE else len(seeds),
                scope=scope_of(seeds).value,
            )

    def seed_results(self) -> Iterator[SeedResultRow]:
        """The value of every training run on every measure."""
        for measure, arm, data in self.cells():
            seeds = self.outcomes.seeds(measure, arm, data)
            for seed, units in zip(seeds, self.outcomes.units(measure, arm, data, seeds), strict=True):
                yield SeedResultRow(
                    arm=arm,
                    data=data,
                    seed=seed,
                    task=measure.task,
                    metric=measure.metric,
                    value=float(units.mean()),
                )

    def assays(self) -> Iterator[AssayRow]:
        """Whether all layers move the untouched model, on every measure with a margin."""
        for measure, data in dict.fromkeys((measure, data) for measure, _, data in self.cells()):
            found, margin = contrast(self.outcomes, measure, data, ALL_LAYERS, BASE), self.plan.margin(measure)
            told = self._assay(measure, data)
            if data is None or found is None or told is None or margin is None:
                continue
            sign = 1.0 if measure.higher_is_better else -1.0
            yield AssayRow(
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.outcomes.primary(measure),
                higher_is_better=measure.higher_is_better,
                margin=margin,
                gain=sign * found.value,
                low=told.interval.low,
                high=told.interval.high,
                level=told.interval.level,
                moved=told.moved.value,
                n=found.n,
                seeds=len(found.seeds),
                scope=found.scope.value,
                sentence=told.sentence,
            )

    def seed_differences(self) -> Iterator[SeedDifferenceRow]:
        """The comparisons, one training run at a time."""
        for found, _ in self.contrasts():
            yield from seed_difference_rows(found)

    def shares(self) -> Iterator[ShareRow]:
        """Share of the gain of all layers over the untouched base that every other arm keeps."""
        for measure, arm, data in self.cells():
            if arm in RESERVED_ARMS or arm in self.plan.further_controls:
                continue
            gains = self.gains(measure, data, arm)
            if gains is None:
                continue
            own, everything = gains
            shown = finite_set(own.share_of(everything, self.level))
            # Items drawn again say nothing of how training runs vary.
            drawn = self.plan.is_outcome(measure, data) and own.scope is Scope.CHECKPOINTS and shown.shape is not None
            second = None
            if drawn:
                averages = (own.differences[0], everything.differences[0])
                second = ratio_bootstrap_items(*averages, self.rng("bootstrap", own), self.plan.resamples, self.level)
            if second is not None and second.low == second.high:
                second = None
            yield ShareRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.outcomes.primary(measure),
                share=own.value / everything.value,
                shape=shown.shape,
                low=shown.low,
                high=shown.high,
                bootstrap_low=None if second is None else second.low,
                bootstrap_high=None if second is None else second.high,
                level=self.level,
                no_interval=None if shown.shape is not None else own.no_share_of(everything),
                n=own.n,
                seeds=len(own.seeds),
                scope=own.scope.value,
            )

    def primary(self, measure: Measure) -> bool:
        """Whether a metric represents its task; a corpus metric does where none of the task is a mean of items."""
        if measure in self.outcomes.values:
            return self.outcomes.primary(measure)
        alone = all(other.task != measure.task for other in self.outcomes.values)
        return alone and self.corpus.primary(measure)

    def cells(self) -> Iterator[tuple[Measure, str, str | None]]:
        """Every measure, arm and data set that was evaluated: the base first, then the recipe's order."""
        yield from self._cells(self.outcomes)

    def corpus_cells(self) -> Iterator[tuple[Measure, str, str | None]]:
        """The same for metrics that are computed over all items at once."""
        yield from self._cells(self.corpus.tables)

    def _cells(self, tables: OutcomeTables) -> Iterator[tuple[Measure, str, str | None]]:
        order = {name: place for place, name in enumerate([*RESERVED_ARMS, *(arm.name for arm in self.recipe.arms)])}
        for measure, cells in tables.values.items():
            found = {(cell.arm or "", cell.data) for cell in cells}
            for arm, data in sorted(found, key=lambda pair: (pair[1] or "", order.get(pair[0], len(order)), pair[0])):
                yield measure, arm, data

    def contrasts(self) -> Iterator[tuple[Contrast | CorpusContrast, Role]]:
        """Every pair of arms that is compared, measured on what both have, and why it is."""
        for measure, data, arm, reference, role in self._pairings(self.cells()):
            if (found := contrast(self.outcomes, measure, data, arm, reference)) is not None:
                yield found, role
        for measure, data, arm, reference, role in self._pairings(self.corpus_cells()):
            if (pair := corpus_contrast(self.corpus, measure, data, arm, reference)) is not None:
                yield pair, role

    def _pairings(
        self, evaluated: Iterable[tuple[Measure, str, str | None]]
    ) -> Iterator[tuple[Measure, str | None, str, str, Role]]:
        """What is compared: measure, data set, arm, reference, and why with this reference."""
        # Random controls behind the first stand for chance together: each is compared only where the recipe names it.
        further, named = self.plan.further_controls, {first for first, _ in self.recipe.analyze.contrasts}
        cells = [cell for cell in evaluated if cell[1] not in further or cell[1] in named]
        for measure, arm, data in cells:
            others = sorted({d for m, _, d in cells if m == measure and d is not None})
            for data_set in [data] if data is not None else [None, *others]:
                for reference, role in self.plan.references(arm):
                    if arm in further and role != "contrast":
                        continue
                    if data is not None or (data_set is None) == (reference in self.plan.without_data):
                        yield measure, data_set, arm, reference, role

    def rng(self, purpose: str, found: Contrast | CorpusContrast) -> np.random.Generator:
        """The random numbers of one purpose and contrast."""
        names = (found.arm, found.reference, found.data or "", found.measure.task, found.measure.metric)
        return Streams(self.recipe.root_seed).generator(purpose, *names)

    def moved(self, found: Contrast | CorpusContrast) -> bool | None:
        """Whether all layers are shown to move the untouched model there.

        None where that is not asked: of comparisons with the untouched model, of metrics that are computed over all
        items at once, and of arms that are pruned or made elsewhere in a study that does not measure all layers.
        """
        pair = {found.arm, found.reference}
        if BASE in pair or found.measure not in self.outcomes.values:
            return None
        measured = contrast(self.outcomes, found.measure, found.data, ALL_LAYERS, BASE) is not None
        assays = [self._assay(found.measure, found.data)] if measured else []
        return shown_to_move(assays, tunes=all(arm.tunes for arm in self.recipe.arms if arm.name in pair))

    def _assay(self, measure: Measure, data: str | None) -> Assay | None:
        found, margin = contrast(self.outcomes, measure, data, ALL_LAYERS, BASE), self.plan.margin(measure)
        return None if found is None or margin is None else found.assay(margin, self.model, self.plan.alpha)

    def gains(self, measure: Measure, data: str | None, arm: str) -> tuple[Contrast, Contrast] | None:
        """The arm and all layers, each against the untouched model, on the seeds that both have.

        None where there are no such seeds, or where all layers gain nothing that could be shared: of a loss, the arm
        that loses most would keep most.
        """
        both = self.seeds_of_both(measure, data, arm)
        own, everything = (contrast(self.outcomes, measure, data, each, BASE, of=both) for each in (arm, ALL_LAYERS))
        if own is None or everything is None or everything.value * (1 if measure.higher_is_better else -1) <= 0:
            return None
        return own, everything

    def seeds_of_both(self, measure: Measure, data: str | None, arm: str) -> Seeds:
        """The training runs that both an arm and all layers have."""
        ours, theirs = (self.outcomes.seeds(measure, each, data) for each in (arm, ALL_LAYERS))
        return tuple(seed for seed in ours if seed in theirs)


def shown_to_move(assays: Sequence[Assay | None], *, tunes: bool) -> bool | None:
    """Whether all layers are shown to move the untouched model, without which no two arms are called the same.

    Args:
        assays: One for each place where all layers were measured; None where the data allow none.
        tunes: Whether both arms are tuned from the untouched model, and neither pruned nor made elsewhere.

    Returns:
        None where all layers were not measured and an arm is not tuned: the question does not arise.
    """
    if not assays:
        return False if tunes else None
    return any(assay is not None and assay.moved is not AssayResult.NOT_SHOWN for assay in assays)


def seed_difference_rows(found: Contrast | CorpusContrast) -> Iterator[SeedDifferenceRow]:
    """A contrast, one training run at a time."""
    for seed, difference in zip(found.seeds, found.by_seed, strict=True):
        yield SeedDifferenceRow(
            arm=found.arm,
            reference=found.reference,
            data=found.data,
            seed=seed,
            task=found.measure.task,
            metric=found.measure.metric,
            difference=difference,
        )


def ends(estimate: Effect | None, level: float) -> tuple[float | None, float | None]:
    """Both ends of the interval of an estimate, where there is one."""
    if estimate is None:
        return None, None
    interval = estimate.interval(level)
    return interval.low, interval.high
