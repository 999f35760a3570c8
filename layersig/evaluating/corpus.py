"""Metrics that lm-eval computes over all items at once, and what they would be on resamples of the items.

F1, Matthews' correlation, BLEU, chrF, TER, the Brier score and perplexities are not means of items, so an item has no
value of its own. What an interval needs is kept instead: the metric on resamples of the items, drawn from a stream that
depends on the task and the number of its items alone. Two models on the same items have the same resamples, so their
replicates are paired.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lm_eval.api import metrics as theirs
from numpy.typing import NDArray

from layersig.errors import UserError
from layersig.streams import derive

RESAMPLES = 500
"""The standard error over that many resamples is known to 3 %."""

Aggregation = Callable[[list[Any]], float]
IntArray = NDArray[np.int64]
_OfChosen = Callable[[IntArray], float]


def is_mean(aggregation: Aggregation) -> bool:
    """Whether an aggregation is the plain mean of items."""
    return aggregation in (theirs.mean, np.mean)


def is_number(value: object) -> bool:
    """Whether a value is one real number, of Python or of NumPy."""
    return isinstance(value, numbers.Real | np.bool_)


def resamples(task: str, clusters: Sequence[str]) -> list[IntArray]:
    """Rows of every resample of a task: clusters are drawn with replacement, and bring all their rows.

    Args:
        task: Name of the leaf task.
        clusters: Label of the cluster of each row; rows that stand alone have labels of their own.
    """
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    members = [np.flatnonzero(index == unit) for unit in range(int(index.max()) + 1)]
    generator = np.random.default_rng(derive("corpus", task, len(clusters), len(members)))
    drawn = generator.integers(0, len(members), size=(RESAMPLES, len(members)))
    return [np.concatenate([members[unit] for unit in units]) for units in drawn]


def replicates(
    aggregation: Aggregation, values: Sequence[Any], rows: Sequence[int], drawn: Sequence[IntArray]
) -> list[float | None]:
    """A metric on every resample; None where it is not defined.

    Args:
        aggregation: What makes one number of what items gave.
        values: What each item gave.
        rows: The row that each value belongs to.
        drawn: Rows of every resample.
    """
    place = np.full(max(*rows, *(int(each.max()) for each in drawn)) + 1, -1)
    place[list(rows)] = np.arange(len(rows))
    computed = _fast(aggregation, values) or (lambda chosen: aggregation([values[at] for at in chosen]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_number(computed, found[found >= 0]) for found in (place[each] for each in drawn)]


def over_all_items(aggregation: Aggregation, values: list[Any]) -> float:
    """What an aggregation gives, without its library's warnings, such as of a class that no item was given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return aggregation(values)


def guarded(task: str, metric: str, aggregation: Aggregation) -> Aggregation:
    """An aggregation whose failures name the task and the metric."""

    def computed(values: list[Any]) -> float:
        try:
            return over_all_items(aggregation, values)
        except Exception as error:  # a definition's own function may fail with anything
            kind = type(error).__name__
            raise UserError(f"task {task}: {metric} cannot be computed over its items ({kind}: {error})") from error

    return computed


def _number(computed: _OfChosen, chosen: IntArray) -> float | None:
    try:
        value = float(computed(chosen))
    except Exception:  # such as a resample without a positive item; whoever reads the replicates counts how often
        return None
    return value if math.isfinite(value) else None


def _fast(aggregation: Aggregation, values: Sequence[Any]) -> _OfChosen | None:
    """The same numbers from sums over items as lm-eval computes from the items, a hundred times faster."""
    if aggregation in (theirs.f1_score, theirs.matthews_corrcoef):
        return _of_confusion(values, f1=aggregation is theirs.f1_score)
    makers = {theirs.bleu: "BLEU", theirs.chrf: "CHRF", theirs.chrfpp: "CHRF", theirs.ter: "TER"}
    if aggregation not in makers:
        return None
    from sacrebleu import metrics as sacrebleu_metrics

    options = {"word_order": 2} if aggregation is theirs.chrfpp else {}
    metric = getattr(sacrebleu_metrics, makers[aggregation])(**options)
    references, predictions = theirs._sacreformat(*zip(*values, strict=True))
    sums = np.array(metric._extract_corpus_statistics(predictions, references))
    return lambda chosen: float(metric._compute_score_from_stats(sums[chosen].sum(axis=0).tolist()).score)


def _of_confusion(values: Sequence[tuple[Any, Any]], *, f1: bool) -> _OfChosen:
    """F1 of class 1, or Matthews' correlation, from counts of right and given classes; 0 where not defined.

    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient"; as in sklearn.
    """
    classes, flat = np.unique(np.asarray(values), return_inverse=True)
    pairs = flat.reshape(len(values), 2)
    codes = pairs[:, 0] * classes.size + pairs[:, 1]

    def computed(chosen: IntArray) -> float:
        counts = np.bincount(codes[chosen], minlength=classes.size**2).reshape(classes.size, classes.size)
        right, given, hits = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
        if f1:
            one = classes == 1
            asked = int(right[one].sum() + given[one].sum())
            return 2 * int(hits[one].sum()) / asked if asked else 0.0
        n = int(counts.sum())
        spread = math.sqrt(n**2 - int(right @ right)) * math.sqrt(n**2 - int(given @ given))
        return (int(hits.sum()) * n - int(right @ given)) / spread if spread else 0.0

    return computed
