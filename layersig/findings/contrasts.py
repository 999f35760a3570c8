"""A paired comparison of two arms: the table of differences, its estimate, its test and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layersig.analysis import floors
from layersig.analysis.assay import Assay, assay
from layersig.analysis.claim import Claim
from layersig.analysis.equivalence import items_for_equivalence, items_for_equivalence_discordant, seeds_for_equivalence
from layersig.analysis.fieller import RatioSet
from layersig.analysis.looks import EffectAtLook, Look
from layersig.analysis.paired import PairedShares, sign_flip_test
from layersig.analysis.power import detectable_difference_discordant, detectable_of
from layersig.analysis.results import Effect, Interval
from layersig.analysis.retention import ratio_of_tables
from layersig.analysis.sentences import Correction, Judgement, RequiredSize, estimation, judge
from layersig.analysis.tables import Floor, mean_of, no_interval, with_floor
from layersig.analysis.twoway import MIN_SEEDS_FOR_BOOTSTRAP, MeanSquares, bootstrap_items_and_seeds, mean_squares
from layersig.analysis.verdicts import Scope
from layersig.findings.outcomes import UNITS, Items, Measure, OutcomeTables

FloatArray = NDArray[np.float64]
Seeds = tuple[int | None, ...]


class ArmPair(Protocol):
    """Two arms compared in one metric, on the same data set and seeds."""

    @property
    def arm(self) -> str:
        """The arm in question."""

    @property
    def reference(self) -> str:
        """What it is compared with."""

    @property
    def data(self) -> str | None:
        """Data set that both were trained on."""

    @property
    def measure(self) -> Measure:
        """Task and metric."""

    @property
    def seeds(self) -> Seeds:
        """Training runs that both have."""

    @property
    def n(self) -> int:
        """Items."""


class Paired(ArmPair, Protocol):
    """Two arms that were measured, and what their difference is about."""

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Data sets that they were trained on; none where neither was."""

    @property
    def single_run(self) -> str | None:
        """The side that is a single training run, compared with several of the other; None elsewhere."""

    @property
    def scope(self) -> Scope:
        """What the difference is about."""


@dataclass(frozen=True, slots=True)
class NamedTest:
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
        items: The items.
        values: Outcomes of arm and reference, shape (2, seeds, n).
        differences: Arm minus reference in unit values, shape (seeds, units).
        shares: Whether outcomes are shares of right answers, from 0 to 1.
        look: The declared look at the results that tests and intervals allow for.
        single_run: The side that is a single training run, compared with several of the other; None elsewhere.
        other_data: Data set that the reference was trained on, where it is another one than that of the arm.
    """

    arm: str
    reference: str
    data: str | None
    measure: Measure
    seeds: Seeds
    items: Items
    values: FloatArray
    differences: FloatArray
    shares: bool
    look: Look | None = None
    single_run: str | None = None
    other_data: str | None = None

    @property
    def n(self) -> int:
        """Items."""
        return len(self.items.names)

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
        """Mean difference."""
        return float(self.differences.mean())

    @property
    def by_seed(self) -> list[float]:
        """Mean difference of every training run."""
        return [float(units.mean()) for units in self.differences]

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters; None when every item stands alone."""
        return self.items.n_clusters

    @property
    def n_strata(self) -> int | None:
        """Number of strata; None when the task has no parts."""
        return self.items.n_strata

    @property
    def estimate(self) -> Effect | None:
        """Mean difference with everything that is shown and tested of its error; None where `no_interval` says why."""
        if self.no_interval is not None:
            return None
        found = self._pairs or mean_of(self.differences, self.items.shares, self._floor, self._magnitude)
        return found if found is None or self.look is None else EffectAtLook(found, self.look)

    @property
    def favourable(self) -> Effect | None:
        """The estimate with positive meaning better."""
        found = self.estimate
        return found if found is None or self.measure.higher_is_better else found.mirrored()

    @property
    def no_interval(self) -> str | None:
        """Why there is neither interval nor test nor verdict; None where there are."""
        return no_interval(self.differences, self._floor, self._magnitude)

    def detectable(self, alpha: float) -> float | None:
        """Difference that a new study of this size would find with 80 % power, see `analysis.power`.

        None where there is no error to plan with; for right or wrong outcomes 1 where no difference would be found.
        """
        if (pairs := self._pairs) is not None:
            found = detectable_difference_discordant(pairs.wins + pairs.losses, pairs.items, alpha=alpha)
            return 1.0 if found is None else found
        if (estimate := self.estimate) is None:
            return None
        found = detectable_of(estimate, alpha, self._mean_squares())
        return found if self._floor is None else min(1.0, found)

    def needed(self, margin: float, alpha: float) -> RequiredSize | None:
        """What it would take to find two equal arms equivalent."""
        if (pairs := self._pairs) is not None:
            discordant = pairs.wins + pairs.losses
            return RequiredSize(items_for_equivalence_discordant(discordant, pairs.items, margin, alpha), "items")
        if (estimate := self.estimate) is None:
            return None
        if (table := self._mean_squares()) is not None:
            return RequiredSize(seeds_for_equivalence(table, margin, alpha), "seeds")
        return RequiredSize(items_for_equivalence(estimate, self.n, margin, alpha), "items")

    def share_of(self, other: Contrast, level: float) -> RatioSet | None:
        """This difference as a share of another on the same seeds and units, with its Fieller set.

        None where `no_share_of` says why.
        """
        if self.no_share_of(other) is not None:
            return None
        added = None if self._floor is None else floors.RATIO_OF_DIFFERENCES
        level = level if self.look is None else 1 - self.look.level(1 - level)
        return ratio_of_tables(self.differences, other.differences, level, self.items.shares, added)

    def no_share_of(self, other: Contrast) -> str | None:
        """Why this difference as a share of another has no set: nothing varies but in proportion to the other."""
        ratio = self.value / other.value if other.value else 0.0
        return no_interval(self.differences - ratio * other.differences, self._floor, self._magnitude)

    def bootstrap(self, rng: np.random.Generator, draws: int, level: float) -> Interval | None:
        """Crossed bootstrap over seeds and items, the second opinion; None with fewer than five seeds."""
        if len(self.seeds) < MIN_SEEDS_FOR_BOOTSTRAP or self.no_interval is not None:
            return None
        table, _ = with_floor(self.differences, self.items.shares, self._floor)
        return bootstrap_items_and_seeds(table, rng, draws=draws, level=level)

    def test(self, rng: np.random.Generator) -> NamedTest:
        """The test that fits scope and outcome."""
        estimate = self.estimate
        if estimate is None:
            return NamedTest(f"none: {self.no_interval}", None)
        if len(self.seeds) > 1:
            return NamedTest("two-way random effects t (seeds x items)", estimate.p_value())
        if self._pairs is not None:
            return NamedTest("McNemar, exact (items)", self._pairs.p_value())
        flipped = self.items.contributions(self.values[0, 0] - self.values[1, 0])
        return NamedTest("sign flip (items)", sign_flip_test(flipped, rng).p)

    def judge(
        self, margin: float, model: str, correction: Correction, moved: bool | None, alpha: float
    ) -> Judgement | None:
        """The verdict that the interval, the margin and the corrected p-value of `test` allow."""
        if (estimate := self.estimate) is None:
            return None
        needed = self.needed(margin, alpha / correction.tests)
        return judge(estimate, margin, claim_of(self, model), correction, moved=moved, needed=needed, alpha=alpha)

    def assay(self, margin: float, model: str, alpha: float) -> Assay | None:
        """Whether this difference, of all layers from the untouched model, is beyond the margin on either side."""
        if (estimate := self.estimate) is None:
            return None
        return assay(estimate, margin, claim_of(self, model), alpha)

    def estimation(self, model: str, correction: Correction | None, alpha: float) -> tuple[str, Interval] | None:
        """The difference with its interval and no verdict."""
        return None if self.estimate is None else estimation(self.estimate, claim_of(self, model), correction, alpha)

    def _mean_squares(self) -> MeanSquares | None:
        """Those behind an estimate over seeds and items; None with one run."""
        if self.scope is Scope.CHECKPOINTS:
            return None
        return mean_squares(*with_floor(self.differences, self.items.shares, self._floor))

    @property
    def _pairs(self) -> PairedShares | None:
        """The counts, where one run of each was scored right or wrong on independent items of equal weight."""
        plain = self.shares and self.items.plain and bool(np.all((self.values == 0) | (self.values == 1)))
        if len(self.seeds) > 1 or not plain:
            return None
        arm, reference = self.values[:, 0] == 1
        return PairedShares.of(arm, reference)

    @property
    def _floor(self) -> Floor | None:
        return Floor.DIFFERENCE if self.shares else None

    @property
    def _magnitude(self) -> float:
        return float(np.abs(self.values).max())


def common_seeds(outcomes: OutcomeTables, measure: Measure, data: str | None, arm: str, reference: str) -> Seeds:
    """The training runs that two arms have in common."""
    return paired_seeds(*(outcomes.seeds(measure, name, data) for name in (arm, reference)))


def paired_seeds(ours: Seeds, theirs: Seeds) -> Seeds:
    """The seeds that two have in common; one without seeds (the untouched base) pairs with every run."""
    return theirs if ours == (None,) else ours if theirs == (None,) else tuple(s for s in ours if s in theirs)


def contrast(
    outcomes: OutcomeTables, measure: Measure, data: str | None, arm: str, reference: str, *, of: Seeds | None = None
) -> Contrast | None:
    """Pair two arms on the seeds that both have, or those of them that are in `of`; None when there is none."""
    seeds = common_seeds(outcomes, measure, data, arm, reference)
    if of is not None:
        seeds = tuple(seed for seed in seeds if seed in of)
    if not seeds:
        return None
    values = np.stack([outcomes.raw(measure, name, data, seeds) for name in (arm, reference)])
    items = outcomes.items[measure]
    differences = np.stack(
        [items.unit_values(own) - items.unit_values(other) for own, other in zip(*values, strict=True)]
    )
    return Contrast(
        arm,
        reference,
        data,
        measure,
        seeds,
        items,
        values,
        differences,
        outcomes.are_shares(measure),
        outcomes.look_at(seeds),
        single_run_of(outcomes, measure, data, arm, reference),
    )


def single_run_of(outcomes: OutcomeTables, measure: Measure, data: str | None, arm: str, reference: str) -> str | None:
    """The side that is a single training run, where the other has several: one made elsewhere, or given without a seed.

    Its difference from each of them holds the same accident of its own training, so that nothing can be said of its
    method. The untouched model is no accident.
    """
    runs = {name: outcomes.seeds(measure, name, data) for name in (arm, reference)}
    single = [name for name, seeds in runs.items() if seeds == (None,) and name not in outcomes.untouched]
    return single[0] if single and any(len(seeds) > 1 for seeds in runs.values()) else None


def named(*data: str | None) -> tuple[str, ...]:
    """The data sets among labels of which some may be of an untouched model, each once."""
    return tuple(dict.fromkeys(label for label in data if label is not None))


def claim_of(found: Paired, model: str) -> Claim:
    """What a sentence about a comparison has to name."""
    share = found.measure.is_share
    return Claim(
        arm=found.arm,
        reference=found.reference,
        scope=found.scope,
        data_sets=found.data_sets,
        model=model,
        metric=f"{found.measure.metric} of {found.measure.task}",
        seeds=len(found.seeds),
        items=found.n,
        unit="points" if share else UNITS.get(found.measure.metric, found.measure.metric),
        scale=100.0 if share else 1.0,
        higher_is_better=found.measure.higher_is_better,
        single_run=found.single_run,
    )


def scope_of(seeds: Seeds, single_run: str | None = None) -> Scope:
    """One training run can only speak for its checkpoint, also where it is compared with several of another arm."""
    if single_run is not None:
        return Scope.METHOD_AND_CHECKPOINT
    return Scope.METHOD if len(seeds) > 1 else Scope.CHECKPOINTS
