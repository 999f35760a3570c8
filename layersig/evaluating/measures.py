"""From what lm-eval logged of every item to outcomes and corpus values, of tasks and of groups by their weights."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from lm_eval.api.metrics import perplexity, weighted_perplexity

from layersig.errors import UserError
from layersig.evaluating.clusters import clusters_of
from layersig.evaluating.corpus import is_mean, is_number, replicates, resamples
from layersig.evaluating.definitions import Aggregate
from layersig.evaluating.loading import Pool, ResolvedTask, pooled_items
from layersig.evaluating.local import LocalTask
from layersig.records import CorpusValue, Outcome

Samples = Mapping[str, Sequence[Mapping[str, Any]]]
"""What lm-eval logged, by name of the leaf task: a sample an item and filter."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one part behind one filter.

    Attributes:
        part: The part.
        metric: Name of the metric.
        filter_name: Name of the filter.
        values: What items gave, by number of the row; a row may lack it.
    """

    part: LocalTask
    metric: str
    filter_name: str
    values: Mapping[int, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Metric and filter, the same in every part of a group."""
        return self.metric, self.filter_name

    @property
    def title(self) -> str:
        """What results call it."""
        return self._titled(self.metric)

    @property
    def of_items(self) -> bool:
        """Whether the metric is the mean of what items gave."""
        return is_mean(self.part.aggregation_of(self.metric))

    def item(self, row: int) -> tuple[str, float, float] | None:
        """Name, value and weight of what an item gave, where it has a value of its own.

        The log-likelihood behind a perplexity counts as a loss, in nats per byte for texts.
        """
        value, aggregation = self.values[row], self.part.aggregation_of(self.metric)
        if is_mean(aggregation):
            if not is_number(value):
                where = f"task {self.part.config.task}: {self.metric}"
                raise UserError(f"{where} gives {value!r} for an item, which is not a number")
            return self.title, float(value), 1.0
        if aggregation is weighted_perplexity and self.metric == "byte_perplexity":
            # An empty text has no byte, and so no loss.
            return (self._titled("loss"), -value[0] / value[1], float(value[1])) if value[1] else None
        if aggregation is perplexity:
            return self._titled("loss"), -float(value), 1.0
        return None

    def _titled(self, name: str) -> str:
        return name if self.filter_name == "none" else f"{name},{self.filter_name}"


class Place(NamedTuple):
    """Where results hold a part's items: under the name of its group, or its own."""

    label: str
    items: Sequence[str]
    clusters: Sequence[str | None]
    weight: float


class Leaf(NamedTuple):
    """A corpus metric of one part."""

    value: float
    replicates: Sequence[float | None]


class _PooledMetric(NamedTuple):
    """A metric that a group takes over its parts, and what each of them weighs, in sum 1."""

    columns: Sequence[Column]
    weights: Sequence[float]


class Measures:
    """What a task gave.

    A subject of a benchmark stands under the benchmark's name where its group takes the metric, else under its own. The
    parts of a group that mixes data sets stand under both.

    Args:
        task: The task.
        samples: What lm-eval logged.
    """

    def __init__(self, task: ResolvedTask, samples: Samples) -> None:
        self._task = task
        self._columns = {part: _columns(part, samples[str(part.config.task)]) for part in task.parts}

    def outcomes(self) -> Iterator[Outcome]:
        """What every item gave, in order of parts, rows and metrics, of metrics that are means of items."""
        for part, columns in self._columns.items():
            places = [(column, self._places(column)) for column in columns]
            for row in range(len(part.chosen or ())):
                for column, found in places:
                    if row in column.values and (measured := column.item(row)) is not None:
                        name, value, weight = measured
                        for place in found:
                            yield Outcome(
                                place.label,
                                place.items[row],
                                name,
                                value,
                                weight * place.weight,
                                place.clusters[row],
                            )

    def corpus(self) -> Iterator[CorpusValue]:
        """Metrics that are no means of items, of parts and of groups."""
        for part, columns in self._columns.items():
            for column in columns:
                if not column.of_items and self._pool(column, subjects=True) is None:
                    label = self._task.own_label(part)
                    yield self._corpus_value(label, _PooledMetric([column], [1.0]), part.item_ids())
        for pool in self._task.pools:
            for pooled in self._pooled[pool.name].values():
                if not all(column.of_items for column in pooled.columns):
                    items = [item for column in pooled.columns for item in pooled_items(column.part)]
                    yield self._corpus_value(pool.name, pooled, items)

    @cached_property
    def _pooled(self) -> Mapping[str, Mapping[tuple[str, str], _PooledMetric]]:
        found: dict[str, dict[tuple[str, str], _PooledMetric]] = {}
        for pool in self._task.pools:
            by_key: dict[tuple[str, str], tuple[Aggregate, list[Column]]] = {}
            for column in (column for part in pool.parts for column in self._columns[part]):
                if (aggregate := pool.group.aggregate(*column.key)) is not None:
                    by_key.setdefault(column.key, (aggregate, []))[1].append(column)
            found[pool.name] = {key: self._weighed(*entry) for key, entry in by_key.items()}
        return found

    def _weighed(self, aggregate: Aggregate, columns: Sequence[Column]) -> _PooledMetric:
        # By lm-eval's size of a task: its items that have any metric.
        sizes = [max(len(each.values) for each in self._columns[column.part]) for column in columns]
        total = sum(sizes)
        return _PooledMetric(columns, [size / total if aggregate.by_size else 1 / len(columns) for size in sizes])

    def _pool(self, column: Column, *, subjects: bool) -> Pool | None:
        """The group that takes a column, where it is one of subjects, or one of several data sets."""
        pool = self._task.pool(column.part)
        taken = pool is not None and pool.subjects is subjects and column.key in self._pooled[pool.name]
        return pool if taken else None

    def _places(self, column: Column) -> list[Place]:
        part = column.part
        found = []
        if (benchmark := self._pool(column, subjects=True)) is not None:
            subject = [str(part.config.task)] * len(part.chosen or ())
            found.append(Place(benchmark.name, pooled_items(part), subject, self._weight(benchmark, column)))
        else:
            found.append(Place(self._task.own_label(part), part.item_ids(), clusters_of(part), 1.0))
        if (mixture := self._pool(column, subjects=False)) is not None:
            names = [None if name is None else f"{part.config.task}/{name}" for name in clusters_of(part)]
            found.append(Place(mixture.name, pooled_items(part), names, self._weight(mixture, column)))
        # A group's mean over parts of which one is no mean of items is itself none.
        return [place for place in found if self._is_mean(place.label, column)]

    def _is_mean(self, label: str, column: Column) -> bool:
        pooled = self._pooled.get(label, {}).get(column.key)
        return pooled is None or all(other.of_items is column.of_items for other in pooled.columns)

    def _weight(self, pool: Pool, column: Column) -> float:
        """What an item weighs in its group: 1 on average."""
        pooled = self._pooled[pool.name][column.key]
        items = sum(len(each.values) for each in pooled.columns)
        share = next(weight for each, weight in zip(*pooled, strict=True) if each is column)
        weight = share * items / len(column.values)
        return 1.0 if math.isclose(weight, 1.0, rel_tol=1e-12) else weight

    def _corpus_value(self, label: str, pooled: _PooledMetric, items: Sequence[str]) -> CorpusValue:
        leaves = [self._leaf(column) for column in pooled.columns]
        value = math.fsum(weight * leaf.value for weight, leaf in zip(pooled.weights, leaves, strict=True))
        drawn = zip(*(leaf.replicates for leaf in leaves), strict=True)
        together = [_weighted(pooled.weights, values) for values in drawn]
        units = sum(len(set(_units(column.part))) for column in pooled.columns)
        digest = hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
        return CorpusValue(
            label,
            pooled.columns[0].title,
            value if math.isfinite(value) else None,
            sum(len(column.values) for column in pooled.columns),
            units,
            digest,
            tuple(together),
        )

    def _leaf(self, column: Column) -> Leaf:
        part, aggregation = column.part, column.part.aggregation_of(column.metric)
        rows = list(column.values)
        values = [column.values[row] for row in rows]
        drawn = resamples(str(part.config.task), _units(part))
        return Leaf(float(part.aggregation()[column.metric](values)), replicates(aggregation, values, rows, drawn))


def _columns(part: LocalTask, samples: Sequence[Mapping[str, Any]]) -> list[Column]:
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        for metric in sample["metrics"]:
            found.setdefault((metric, sample["filter"]), {})[int(sample["doc_id"])] = sample[metric]
    return [Column(part, *key, values) for key, values in found.items()]


def _weighted(weights: Sequence[float], values: Sequence[float | None]) -> float | None:
    """The weighted sum of values; None where one is not defined."""
    known = [weight * value for weight, value in zip(weights, values, strict=True) if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _units(part: LocalTask) -> list[str]:
    """What is resampled: clusters of items, and items that belong to no cluster."""
    return [f"\0{row}" if name is None else name for row, name in enumerate(clusters_of(part))]
