"""The outcomes of a run as arrays whose plain mean is the result of the task.

Weights (target tokens) and clusters (conversations) are dealt with once, here: an outcome becomes a *unit value*, and
everything after it is the statistics of plain means over independent units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from layersig.judging.records import SCORE
from layersig.recipe.metrics import SHARES, kind_of
from layersig.records import Cell, Outcome

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LOWER_IS_BETTER = {"loss", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
_PRIMARY_METRICS = ("loss", "passes", "math_answer", "exact_match", "rouge_l", "acc_norm", "acc")


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
    """

    names: tuple[str, ...]
    weights: FloatArray
    clusters: IntArray | None

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters; None when every item stands alone."""
        return None if self.clusters is None else int(self.clusters.max()) + 1

    @property
    def plain(self) -> bool:
        """Whether items are independent and weigh the same."""
        return self.clusters is None and bool(np.all(self.weights == self.weights[0]))

    def unit_values(self, values: FloatArray) -> FloatArray:
        """Values whose plain mean is the weighted mean, one per independent unit.

        The weighted mean m is linearised: item i counts m + (w_i / mean w)(v_i - m), and a cluster the sum of what its
        items differ from m, times clusters / items. The plain standard error of the result is then the usual
        (cluster-robust) standard error of a ratio of totals. The map is linear in the values, so that differences of
        unit values are the unit values of differences.

        Args:
            values: Shape (n,).

        Returns:
            Shape (n,), or (clusters,) where items are clustered.

        Source:
            Sarndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, section 5.6.
        """
        mean = float(self.weights @ values / self.weights.sum())
        deviations = self.weights / self.weights.mean() * (values - mean)
        if self.clusters is None:
            return np.asarray(mean + deviations)
        totals = np.bincount(self.clusters, weights=deviations)
        return np.asarray(mean + totals * totals.size / values.size)


@dataclass(frozen=True, slots=True)
class OutcomeTables:
    """Every measured outcome of a run.

    Attributes:
        items: Items of each measure.
        values: Raw values by measure and cell (arm, data, seed), each of shape (n,).
        notes: Evaluations left out, and why.
        unrated: Items of judged measures left out in all cells, because one cell or more lack a value.
    """

    items: Mapping[Measure, Items]
    values: Mapping[Measure, Mapping[Cell, FloatArray]]
    notes: tuple[str, ...]
    unrated: Mapping[Measure, int] = field(default_factory=dict)

    def primary(self, measure: Measure) -> bool:
        """Whether this metric speaks for its task: the first of `_PRIMARY_METRICS` there is, else the first by name."""
        metrics = sorted(other for other in self.values if other.task == measure.task)
        known = [other for metric in _PRIMARY_METRICS for other in metrics if other.kind == metric]
        return measure == (known or metrics)[0]

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
    evaluations: Iterable[tuple[Cell, Sequence[Outcome]]], directions: Mapping[Measure, bool] = {}
) -> OutcomeTables:
    """Sort the outcomes of a run into tables; an evaluation of other items than the first one's is left out.

    Args:
        evaluations: Outcomes by cell.
        directions: Whether higher is better, of measures whose task's definition says it.
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
                items[measure] = _items(found)
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


def _items(outcomes: Sequence[Outcome]) -> Items:
    labels = [outcome.cluster if outcome.cluster is not None else f"\0{outcome.item}" for outcome in outcomes]
    return Items(
        tuple(outcome.item for outcome in outcomes),
        np.array([outcome.weight for outcome in outcomes]),
        clusters_of(labels),
    )
