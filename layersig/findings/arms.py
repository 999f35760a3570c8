"""What each arm scores, how it differs from others on the same items and seeds, and what of the gain it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np

from layersig.analysis.fieller import RatioSet
from layersig.analysis.margins import MarginTest, superiority_by
from layersig.analysis.results import Estimate
from layersig.analysis.retention import ratio_fieller_items, ratio_fieller_items_and_seeds
from layersig.findings.contrasts import Contrast, contrast, mean_of, scope_of
from layersig.findings.fractions import finite_set
from layersig.findings.outcomes import Measure, OutcomeTables
from layersig.findings.rows import ComparisonRow, ResultRow, Role, SeedDifferenceRow, SeedResultRow, ShareRow
from layersig.recipe.schema import RESERVED_ARMS, Recipe
from layersig.streams import Streams

BASE, ALL_LAYERS = RESERVED_ARMS


@dataclass(frozen=True, slots=True)
class Arms:
    """The arms of a run and how they are to be compared.

    Attributes:
        outcomes: What was measured.
        recipe: Baseline, level, controls.
        model: Label of the model, for sentences.
    """

    outcomes: OutcomeTables
    recipe: Recipe
    model: str

    @property
    def level(self) -> float:
        """Coverage of intervals."""
        return 1 - self.recipe.analyze.alpha

    def results(self) -> Iterator[ResultRow]:
        """Value and standard error of every arm on every measure."""
        for measure, arm, data in self.cells():
            seeds = self.outcomes.seeds(measure, arm, data)
            table = self.outcomes.units(measure, arm, data, seeds)
            estimate, items = mean_of(table), self.outcomes.items[measure]
            low, high = _ends(estimate, self.level)
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
                n=len(items.names),
                clusters=items.n_clusters,
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

    def comparisons(self) -> Iterator[ComparisonRow]:
        """Every arm against the baseline, and against its random control."""
        for found, role in self._contrasts():
            estimate, measure = found.estimate, found.measure
            tested = found.test(self._rng("sign-flip", found))
            low, high = _ends(estimate, self.level)
            second = found.bootstrap(self._rng("bootstrap", found), self.level)
            margin = measure.default_margin
            judgement = None
            if margin is not None:
                judgement = found.judge(margin, self.model, self._assay(found, margin), self.recipe.analyze.alpha)
            yield ComparisonRow(
                arm=found.arm,
                reference=found.reference,
                role=role,
                data=found.data,
                task=measure.task,
                metric=measure.metric,
                primary=self.outcomes.primary(measure),
                higher_is_better=measure.higher_is_better,
                estimate=found.value,
                se=estimate.se if estimate else None,
                df=estimate.df if estimate and isfinite(estimate.df) else None,
                low=low,
                high=high,
                level=self.level,
                margin=margin,
                test=tested.name,
                p=tested.p,
                family=None,
                adjusted_p=None,
                half_width=None if estimate is None else estimate.interval(self.level).half_width,
                detectable=found.detectable(self.recipe.analyze.alpha),
                bootstrap_low=None if second is None else second.low,
                bootstrap_high=None if second is None else second.high,
                n=found.n,
                clusters=self.outcomes.items[measure].n_clusters,
                seeds=len(found.seeds),
                scope=found.scope.value,
                declared=False,
                verdict=judgement.verdict.value if judgement else None,
                sentence=judgement.sentence if judgement else None,
            )

    def seed_differences(self) -> Iterator[SeedDifferenceRow]:
        """The comparisons, one training run at a time."""
        for found, _ in self._contrasts():
            for seed, units in zip(found.seeds, found.differences, strict=True):
                yield SeedDifferenceRow(
                    arm=found.arm,
                    reference=found.reference,
                    data=found.data,
                    seed=seed,
                    task=found.measure.task,
                    metric=found.measure.metric,
                    difference=float(units.mean()),
                )

    def shares(self) -> Iterator[ShareRow]:
        """Share of the gain of all layers over the untouched base that every other arm keeps."""
        for measure, arm, data in self.cells():
            if arm in RESERVED_ARMS:
                continue
            kept = self._share(measure, data, arm)
            if kept is None:
                continue
            shown = finite_set(kept)
            seeds = self.outcomes.seeds(measure, arm, data)
            yield ShareRow(
                arm=arm,
                data=data,
                task=measure.task,
                metric=measure.metric,
                primary=self.outcomes.primary(measure),
                share=kept.ratio,
                shape=kept.shape.value,
                low=shown.low,
                high=shown.high,
                level=kept.level,
                n=len(self.outcomes.items[measure].names),
                seeds=len(seeds),
                scope=scope_of(seeds).value,
            )

    def cells(self) -> Iterator[tuple[Measure, str, str | None]]:
        """Every measure, arm and data set that was evaluated: the base first, then the recipe's order."""
        order = {name: place for place, name in enumerate([*RESERVED_ARMS, *(arm.name for arm in self.recipe.arms)])}
        for measure, cells in self.outcomes.values.items():
            found = {(cell.arm or "", cell.data) for cell in cells}
            for arm, data in sorted(found, key=lambda pair: (pair[1] or "", order.get(pair[0], len(order)), pair[0])):
                yield measure, arm, data

    def _contrasts(self) -> Iterator[tuple[Contrast, Role]]:
        cells = list(self.cells())
        for measure, arm, data in cells:
            data_sets = [data] if arm != BASE else sorted({d for m, _, d in cells if m == measure and d is not None})
            for data_set in data_sets:
                for reference, role in self._references(arm):
                    if (found := contrast(self.outcomes, measure, data_set, arm, reference)) is not None:
                        yield found, role

    def _references(self, arm: str) -> Iterator[tuple[str, Role]]:
        if arm != self.recipe.analyze.baseline:
            yield self.recipe.analyze.baseline, "baseline"
        if (control := self.random_control(arm)) is not None:
            yield control, "random control"

    def random_control(self, arm: str) -> str | None:
        """The arm of randomly chosen layers that selects as many of each type as `arm`."""
        for control in self.recipe.arms:
            if control.select.kind == "matched-random" and control.select.params.get("like") == arm:
                return control.name
        return None

    def _rng(self, purpose: str, found: Contrast) -> np.random.Generator:
        names = (found.arm, found.reference, found.data or "", found.measure.task, found.measure.metric)
        return Streams(self.recipe.root_seed).generator(purpose, *names)

    def _assay(self, found: Contrast, margin: float) -> MarginTest | None:
        """Whether tuning all layers moves the untouched model at all on this task."""
        if BASE in (found.arm, found.reference):
            return None
        moved = contrast(self.outcomes, found.measure, found.data, ALL_LAYERS, BASE)
        if moved is None or moved.favourable is None:
            return None
        return superiority_by(moved.favourable, margin, self.recipe.analyze.alpha)

    def _share(self, measure: Measure, data: str | None, arm: str) -> RatioSet | None:
        own = contrast(self.outcomes, measure, data, arm, BASE)
        everything = contrast(self.outcomes, measure, data, ALL_LAYERS, BASE)
        if own is None or everything is None or own.seeds != everything.seeds or own.estimate is None:
            return None
        if everything.value == 0:
            return None
        if len(own.seeds) == 1:
            return ratio_fieller_items(own.differences[0], everything.differences[0], self.level)
        return ratio_fieller_items_and_seeds(own.differences, everything.differences, self.level)


def _ends(estimate: Estimate | None, level: float) -> tuple[float | None, float | None]:
    if estimate is None:
        return None, None
    interval = estimate.interval(level)
    return interval.low, interval.high
