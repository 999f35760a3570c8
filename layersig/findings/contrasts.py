"""A paired comparison of two arms: the table of differences, its estimate, its test and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from layersig.analysis.fieller import RatioSet
from layersig.analysis.margins import least_se_of_shares
from layersig.analysis.means import mean_items
from layersig.analysis.paired import mcnemar_items, sign_flip_test
from layersig.analysis.power import detectable_difference, detectable_two_way, seeds_for_half_width
from layersig.analysis.results import Estimate, Interval
from layersig.analysis.retention import ratio_fieller_items, ratio_fieller_items_and_seeds
from layersig.analysis.twoway import MIN_SEEDS_FOR_BOOTSTRAP, bootstrap_items_and_seeds, mean_squares, two_way_estimate
from layersig.analysis.verdicts import (
    Assay,
    Claim,
    Correction,
    Judgement,
    Needed,
    Scope,
    assay,
    estimation,
    judge,
)
from layersig.findings.outcomes import Measure, OutcomeTables
from layersig.judging.records import SCORE

FloatArray = NDArray[np.float64]
Seeds = tuple[int | None, ...]

_UNITS = {"loss": "nats", SCORE: "grade points"}


@dataclass(frozen=True, slots=True)
class Tested:
    """A test by name and its p-value; None where the data allow none."""

    name: str
    p: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Differences of two arms on the same items and seeds.

    Attributes:
        arm: The arm in question.
        reference: What it is compared with.
        data: Data set that both were trained on.
        measure: Task and metric.
        seeds: Training runs that both have.
        differences: Arm minus reference in unit values, shape (seeds, units).
        solved: Raw outcomes (arm, reference), shape (2, n), where one run of each was scored right or wrong on
            independent items; else None.
        n: Items.
    """

    arm: str
    reference: str
    data: str | None
    measure: Measure
    seeds: Seeds
    differences: FloatArray
    solved: NDArray[np.bool_] | None
    n: int

    @property
    def scope(self) -> Scope:
        """`checkpoints` with one run per arm, else `method`."""
        return scope_of(self.seeds)

    @property
    def value(self) -> float:
        """Mean difference."""
        return float(self.differences.mean())

    @property
    def estimate(self) -> Estimate | None:
        """Mean difference with its error; None with fewer than two independent units."""
        return mean_of(self.differences)

    @property
    def favourable(self) -> Estimate | None:
        """The estimate with positive meaning better."""
        found = self.estimate
        if found is None or self.measure.higher_is_better:
            return found
        return Estimate(-found.value, found.se, found.df)

    def _least_se(self, margin: float) -> float:
        return least_se_of_shares(margin, self.n) if self.measure.is_share else 0.0

    def detectable(self, alpha: float) -> float | None:
        """Difference that a new study of this size would find with 80 % power, the variances being as seen here."""
        estimate = self.estimate
        if estimate is None or not estimate.se > 0:
            return None
        if self.scope is Scope.CHECKPOINTS:
            units = self.differences.shape[1]
            return detectable_difference(estimate.se * float(np.sqrt(units)), units, alpha=alpha)
        table = mean_squares(self.differences)
        seed, item, residual = (max(0.0, variance) for variance in table.variances)
        return detectable_two_way((seed, item, residual), table.seeds, table.items, alpha=alpha)

    def share_of(self, other: Contrast, level: float) -> RatioSet:
        """This difference as a share of another on the same seeds and units, with its Fieller set."""
        if self.scope is Scope.METHOD:
            return ratio_fieller_items_and_seeds(self.differences, other.differences, level)
        return ratio_fieller_items(self.differences[0], other.differences[0], level)

    def bootstrap(self, rng: np.random.Generator, draws: int, level: float) -> Interval | None:
        """Crossed bootstrap over seeds and items, the second opinion; None with fewer than five seeds."""
        if len(self.seeds) < MIN_SEEDS_FOR_BOOTSTRAP or self.estimate is None:
            return None
        return bootstrap_items_and_seeds(self.differences, rng, draws=draws, level=level)

    def test(self, rng: np.random.Generator) -> Tested:
        """The test that fits scope and outcome."""
        estimate = self.estimate
        if estimate is None:
            return Tested("none: fewer than two independent items", None)
        if self.scope is Scope.METHOD:
            return Tested("two-way random effects t (seeds x items)", estimate.p_value())
        if self.solved is not None:
            return Tested("McNemar, exact (items)", mcnemar_items(*self.solved).p)
        return Tested("sign flip (items)", sign_flip_test(self.differences[0], rng).p)

    def judge(
        self, margin: float, model: str, correction: Correction, moved: bool | None, alpha: float
    ) -> Judgement | None:
        """The verdict that the interval, the margin and the corrected p-value of `test` allow."""
        if (estimate := self.estimate) is None:
            return None
        evidence = estimate.with_least_se(self._least_se(margin))
        needed = self.needed(evidence, margin, alpha / correction.tests)
        return judge(evidence, margin, self._claim(model), correction, moved=moved, needed=needed, alpha=alpha)

    def assay(self, margin: float, model: str, alpha: float) -> Assay | None:
        """Whether this difference, of all layers from the untouched model, is beyond the margin on either side."""
        if (estimate := self.estimate) is None:
            return None
        return assay(estimate.with_least_se(self._least_se(margin)), margin, self._claim(model), alpha)

    def estimation(self, model: str, correction: Correction | None, alpha: float) -> tuple[str, Interval] | None:
        """The difference with its interval and no verdict."""
        return None if self.estimate is None else estimation(self.estimate, self._claim(model), correction, alpha)

    def needed(self, evidence: Estimate, margin: float, alpha: float) -> Needed | None:
        """The size at which the margin is as many standard errors as the two one-sided tests need for 80 % power.

        None where the observed error is below the least one, and so no guide to what another size would give.
        """
        if self.estimate is None or self.estimate.se < evidence.se:
            return None
        reach = float(stats.norm.ppf(1 - alpha))
        errors = reach + float(stats.norm.ppf(0.9))
        if self.scope is Scope.METHOD:
            room = margin * reach / errors
            return Needed(seeds_for_half_width(mean_squares(self.differences), room, 1 - 2 * alpha), "seeds")
        half_width = evidence.interval(1 - 2 * alpha).half_width
        return Needed(ceil(self.n * (half_width * errors / reach / margin) ** 2), "items")

    def _claim(self, model: str) -> Claim:
        share = self.measure.is_share
        return Claim(
            arm=self.arm,
            reference=self.reference,
            scope=self.scope,
            data_sets=(self.data or "no data",),
            model=model,
            metric=f"{self.measure.metric} of {self.measure.task}",
            seeds=len(self.seeds),
            items=self.n,
            unit="points" if share else _UNITS.get(self.measure.metric, self.measure.metric),
            scale=100.0 if share else 1.0,
            higher_is_better=self.measure.higher_is_better,
        )


def contrast(outcomes: OutcomeTables, measure: Measure, data: str | None, arm: str, reference: str) -> Contrast | None:
    """Pair two arms on the seeds that both have; None when they share none.

    An arm without seeds (the untouched base) stands against every seed of the other.
    """
    ours, theirs = (outcomes.seeds(measure, name, data) for name in (arm, reference))
    seeds = theirs if ours == (None,) else ours if theirs == (None,) else tuple(s for s in ours if s in theirs)
    if not seeds:
        return None
    differences = outcomes.units(measure, arm, data, seeds) - outcomes.units(measure, reference, data, seeds)
    items = outcomes.items[measure]
    solved = None
    if len(seeds) == 1 and items.plain:
        raw = np.stack([outcomes.raw(measure, name, data, seeds)[0] for name in (arm, reference)])
        if np.all((raw == 0) | (raw == 1)):
            solved = raw == 1
    return Contrast(arm, reference, data, measure, seeds, differences, solved, len(items.names))


def scope_of(seeds: Seeds) -> Scope:
    """One training run can only speak for its checkpoint."""
    return Scope.METHOD if len(seeds) > 1 else Scope.CHECKPOINTS


def mean_of(table: FloatArray) -> Estimate | None:
    """Mean of a seeds x units table: over items with one run, over seeds and items with several."""
    if table.shape[1] < 2:
        return None
    return mean_items(table[0]) if table.shape[0] == 1 else two_way_estimate(mean_squares(table))
