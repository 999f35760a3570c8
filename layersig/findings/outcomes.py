"""The outcomes of a run as arrays whose plain mean is the result of the task.

Weights (target tokens) and clusters (conversations) are dealt with once, here: an outcome becomes a *unit value*, and
everything after it is the statistics of plain means over independent units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.looks import Look
from layersig.analysis.means import unit_shares, unit_values
from layersig.analysis.results import Estimate
from layersig.analysis.tables import Floor, mean_of, no_interval
from layersig.judging.records import SCORE
from layersig.recipe.metrics import SHARES, kind_of, primary_of
from layersig.recipe.schema import BASE
from layersig.records import Cell, Outcome

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


_LOWER_IS_BETTER = {"loss", "preference_loss", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
UNITS: Mapping[str, str] = {"loss": "nats", "preference_loss": "nats", SCORE: "grade points"}
"""Units of metrics that have one."""


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """A metric of a task.

    Attributes:
        task: Name of the task.
        metric: Name of the metric.
        higher: Whether a larger value is the better one, as the task's definition says; None where it says nothing.
    """

    task: str
    metric: str
    higher: bool | None = field(default=None, compare=False)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one; where the task says nothing, the metric's name tells."""
        return self.kind not in _LOWER_IS_BETTER if self.higher is None else self.higher

    @property
    def is_share(self) -> bool:
        """Whether values are shares of right answers, shown in percent and compared in points."""
        return self.kind in SHARES

    @property
    def kind(self) -> str:
        """The metric without the filter that lm-eval writes behind it, as in `exact_match,strict-match`."""
        return kind_of(self.metric)


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The items that a measure was taken on, equal in every arm and seed.

    Attributes:
        names: Item identifiers.
        weights: Weight of each item in the mean, shape (n,).
        clusters: Index of the cluster of each item, shape (n,); None when every item stands alone.
        strata: Index of the stratum of each item, where the parts of a task are fixed; None when it has no parts.
    """

    names: tuple[str, ...]
    weights: FloatArray
    clusters: IntArray | None
    strata: IntArray | None = None

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters; None when every item stands alone."""
        return None if self.clusters is None else int(self.clusters.max()) + 1

    @property
    def n_strata(self) -> int | None:
        """Number of strata; None when the task has no parts."""
        return None if self.strata is None else int(self.strata.max()) + 1

    @property
    def units(self) -> int:
        """Number of independent units: clusters, or items that stand alone."""
        return self.n_clusters or len(self.names)

    @property
    def plain(self) -> bool:
        """Whether items are independent and weigh the same; fixed strata only lessen the error of such items."""
        return self.clusters is None and self.shares is None

    @property
    def shares(self) -> FloatArray | None:
        """Share of each unit in the weight of all, shape (units,); None where all are equal."""
        return unit_shares(self.weights, self.clusters)

    def unit_values(self, values: FloatArray) -> FloatArray:
        """Values whose plain mean is the weighted mean, one per independent unit, see `analysis.means.unit_values`.

        Args:
            values: Shape (n,).

        Returns:
            Shape (n,), or (clusters,) where items are clustered.
        """
        return unit_values(values, self.weights, self.clusters, self.strata)

    def contributions(self, values: FloatArray) -> FloatArray:
        """What each unit adds to the weighted mean, times the number of units: the values whose signs may be flipped.

        Where a difference is as likely as its opposite, so is its product with the weight, or the sum of such products
        over a cluster; unit values, which hold the mean of all, are not.

        Args:
            values: Differences, shape (n,).

        Returns:
            Shape (units,), with the weighted mean as its plain mean.
        """
        products = self.weights * values / self.weights.sum()
        found = products if self.clusters is None else np.bincount(self.clusters, weights=products)
        return np.asarray(found * found.size)


@dataclass(frozen=True)
class OutcomeTables:
    """Every measured outcome of a run.

    Attributes:
        items: Items of each measure.
        values: Raw values by measure and cell (arm, data, seed), each of shape (n,).
        notes: Evaluations left out, and why.
        unrated: Items of judged measures left out in all cells, because one cell or more lack a value.
        look: The declared look at the results; differences of arms then allow for all looks.
        untouched: Arms that are no training run but the model as it was before any: there is one, not one of several.
    """

    items: Mapping[Measure, Items]
    values: Mapping[Measure, Mapping[Cell, FloatArray]]
    notes: tuple[str, ...]
    unrated: Mapping[Measure, int] = field(default_factory=dict)
    look: Look | None = None
    untouched: Set[str] = frozenset({BASE})

    def look_at(self, seeds: Sequence[int | None]) -> Look | None:
        """The declared look, of results that grow with the seeds; None for a single run, which is always the same."""
        return self.look if len(seeds) > 1 else None

    def primary(self, measure: Measure) -> bool:
        """Whether this metric represents its task, see `primary_of`."""
        return measure.metric == primary_of(other.metric for other in self.values if other.task == measure.task)

    def are_shares(self, measure: Measure) -> bool:
        """Whether outcomes are shares of right answers, from 0 to 1, so that their error is known where none varies.

        A metric of another name counts as one where every outcome is 0 or 1 and both occur.
        """
        return measure in self._of_shares

    @cached_property
    def _of_shares(self) -> Set[Measure]:
        found = set()
        for measure, cells in self.values.items():
            ends = {(float(each.min()), float(each.max())) for each in cells.values()}
            least, most = min(low for low, _ in ends), max(high for _, high in ends)
            graded = measure.kind in _LOWER_IS_BETTER or measure.metric == SCORE
            right_or_wrong = (least, most) == (0, 1) and all(
                bool(np.all((each == 0) | (each == 1))) for each in cells.values()
            )
            if (measure.is_share and least >= 0 and most <= 1) or (not graded and right_or_wrong):
                found.add(measure)
        return found

    def level(self, measure: Measure, table: FloatArray) -> Estimate | None:
        """The mean of an arm's unit values with its error; None where `no_level` says why."""
        return mean_of(table, self.items[measure].shares, Floor.LEVEL if self.are_shares(measure) else None)

    def no_level(self, measure: Measure, table: FloatArray) -> str | None:
        """Why an arm's mean has no interval; None where it has one."""
        return no_interval(table, Floor.LEVEL if self.are_shares(measure) else None)

    def seeds(self, measure: Measure, arm: str, data: str | None) -> tuple[int | None, ...]:
        """Seeds that an arm was evaluated for, sorted; (None,) for an arm that has no seed."""
        cells = [cell for cell in self.values[measure] if cell.arm == arm and cell.data in (data, None)]
        return tuple(sorted((cell.seed for cell in cells), key=lambda seed: -1 if seed is None else seed))

    def raw(self, measure: Measure, arm: str, data: str | None, seeds: Sequence[int | None]) -> FloatArray:
        """Raw values, shape (seeds, n); an arm without data or seed (`base`) is repeated."""
        cells = self.values[measure]
        rows = []
        for seed in seeds:
            rows.append(next(cells[cell] for cell in cells_of(arm, data, seed) if cell in cells))
        return np.stack(rows)

    def units(self, measure: Measure, arm: str, data: str | None, seeds: Sequence[int | None]) -> FloatArray:
        """Unit values, shape (seeds, units)."""
        items = self.items[measure]
        return np.stack([items.unit_values(row) for row in self.raw(measure, arm, data, seeds)])


def cells_of(arm: str, data: str | None, seed: int | None) -> tuple[Cell, Cell, Cell]:
    """Where the outcomes of an arm may lie, which has no seed or no data (`base`) where these change nothing."""
    return Cell(arm=arm, data=data, seed=seed), Cell(arm=arm, data=data), Cell(arm=arm)


def outcome_tables(
    evaluations: Iterable[tuple[Cell, Sequence[Outcome]]],
    directions: Mapping[Measure, bool] = {},
    stratified: Set[str] = frozenset(),
) -> OutcomeTables:
    """Sort the outcomes of a run into tables; an evaluation of other items than the first one's is left out.

    Args:
        evaluations: Outcomes by cell.
        directions: Whether higher is better, of measures whose task's definition says it.
        stratified: Tasks whose groups of items are fixed strata, not a sample of clusters.
    """
    items: dict[Measure, Items] = {}
    order: dict[Measure, dict[str, int]] = {}
    values: dict[Measure, dict[Cell, FloatArray]] = {}
    notes: list[str] = []
    judged: dict[Measure, dict[Cell, list[Outcome]]] = {}
    for cell, outcomes in evaluations:
        by_measure: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in outcomes:
            by_measure.setdefault((outcome.task, outcome.metric), []).append(outcome)
        for key, found in by_measure.items():
            measure = Measure(*key, directions.get(Measure(*key)))
            if measure.metric == SCORE:  # an item lacks a value where the judge gave no verdict that can be read
                judged.setdefault(measure, {})[cell] = found
                continue
            if measure not in items:
                items[measure] = _items(found, measure.task in stratified)
                order[measure] = {name: place for place, name in enumerate(items[measure].names)}
            known = order[measure]
            places = [known.get(outcome.item, -1) for outcome in found]
            if len(set(places)) != len(known) or len(places) != len(known) or -1 in places:
                notes.append(f"{cell.key} was evaluated on other items of {measure.task} and is left out there")
                continue
            vector = np.empty(len(found))
            vector[places] = [outcome.value for outcome in found]
            values.setdefault(measure, {})[cell] = vector
    unrated = {}
    for measure, cells in judged.items():
        named = [{outcome.item: outcome for outcome in found} for found in cells.values()]
        common = [item for item in named[0] if all(item in each for each in named)]
        unrated[measure] = len({item for each in named for item in each}) - len(common)
        if common:
            items[measure] = _items([named[0][item] for item in common])
            values[measure] = {
                cell: np.array([each[item].value for item in common]) for cell, each in zip(cells, named, strict=True)
            }
    ordered = sorted(values)
    return OutcomeTables({m: items[m] for m in ordered}, {m: values[m] for m in ordered}, tuple(notes), unrated)


def clusters_of(labels: Sequence[str]) -> IntArray | None:
    """Index of the cluster of each item, from its label; None when no two items share one."""
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return np.array([codes[label] for label in labels], dtype=np.int64) if len(codes) < len(labels) else None


def _items(outcomes: Sequence[Outcome], stratified: bool = False) -> Items:
    labels = [outcome.cluster if outcome.cluster is not None else f"\0{outcome.item}" for outcome in outcomes]
    names, weights = tuple(outcome.item for outcome in outcomes), np.array([outcome.weight for outcome in outcomes])
    groups = clusters_of(labels)
    return Items(names, weights, None, groups) if stratified else Items(names, weights, groups)
