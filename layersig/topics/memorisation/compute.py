"""What the probes of memorisation show of each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired

import numpy as np
from pydantic import FiniteFloat

from layersig.analysis.means import mean_clusters, mean_items
from layersig.analysis.multiplicity import holm_of_tested
from layersig.analysis.results import Alternative, Estimate
from layersig.findings.files import RunFiles
from layersig.findings.shown import finite
from layersig.jsonform import Open, read_rows
from layersig.topics.memorisation.rows import MemorisationRow


class ProbedForm(Open):
    """A line of `evaluations/base/memorisation.jsonl`."""

    task: str
    item: str
    cluster: NotRequired[str]
    tokens: int
    min_k: FiniteFloat
    min_k_reordered: NotRequired[FiniteFloat]
    acc: NotRequired[FiniteFloat]
    acc_reordered: NotRequired[FiniteFloat]


def memorisation_rows(files: RunFiles, alpha: float) -> tuple[MemorisationRow, ...]:
    """A row a task, in the order of the recipe; none where no task was probed.

    Args:
        files: The run.
        alpha: Level of the family of both probes of all tasks.
    """
    path = files.path / "evaluations" / "base" / "memorisation.jsonl"
    if not path.is_file():
        return ()
    by_task: dict[str, list[ProbedForm]] = {}
    for line in read_rows(path, ProbedForm):
        by_task.setdefault(line["task"], []).append(line)
    rows = [_row(task, lines, 1 - alpha) for task, lines in by_task.items()]
    adjusted = holm_of_tested([p for row in rows for p in (row.order_p, row.loss_p)])
    found = []
    for number, row in enumerate(rows):
        order_p, loss_p = adjusted[2 * number], adjusted[2 * number + 1]
        seen = any(p is not None and p <= alpha for p in (order_p, loss_p))
        done = row.model_copy(update={"order_adjusted_p": order_p, "loss_adjusted_p": loss_p, "seen": seen})
        found.append(done.model_copy(update={"sentence": _sentence(done, alpha)}))
    return tuple(found)


def _row(task: str, lines: Sequence[ProbedForm], level: float) -> MemorisationRow:
    clusters = _clusters(lines)
    text = _estimate([line["min_k"] for line in lines], clusters)
    moved = [line for line in lines if "min_k_reordered" in line]
    order = _estimate([line["min_k"] - line["min_k_reordered"] for line in moved], _clusters(moved))
    loss = _estimate([line["acc"] - line["acc_reordered"] for line in moved], _clusters(moved))
    (text_low, text_high), (low, high), (loss_low, loss_high) = (_ends(each, level) for each in (text, order, loss))
    return MemorisationRow(
        task=task,
        n=len(lines),
        clusters=None if clusters is None else int(np.unique(clusters).size),
        min_k=float(np.mean([line["min_k"] for line in lines])),
        min_k_low=text_low,
        min_k_high=text_high,
        reordered=len(moved),
        order=_mean([line["min_k"] - line["min_k_reordered"] for line in moved]),
        order_low=low,
        order_high=high,
        order_p=_p(order),
        order_adjusted_p=None,
        acc=_mean([line["acc"] for line in moved]),
        acc_reordered=_mean([line["acc_reordered"] for line in moved]),
        loss=_mean([line["acc"] - line["acc_reordered"] for line in moved]),
        loss_low=loss_low,
        loss_high=loss_high,
        loss_p=_p(loss),
        loss_adjusted_p=None,
        seen=False,
        level=level,
        sentence="",
    )


def _clusters(lines: Sequence[ProbedForm]) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
    names = [line.get("cluster") for line in lines]
    if not any(names):
        return None
    known = [name or f"\0{number}" for number, name in enumerate(names)]
    return np.unique(known, return_inverse=True)[1].astype(np.int64)


def _estimate(values: Sequence[float], clusters: np.ndarray[tuple[int], np.dtype[np.int64]] | None) -> Estimate | None:
    """None where there are too few units for an error, or nothing varies."""
    array = np.array(values, float)
    if array.size < 2 or (clusters is not None and np.unique(clusters).size < 2):
        return None
    found = mean_items(array) if clusters is None else mean_clusters(array, clusters)
    return found if found.se > 0 else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _ends(estimate: Estimate | None, level: float) -> tuple[float | None, float | None]:
    if estimate is None:
        return None, None
    interval = estimate.interval(level)
    return finite(interval.low), finite(interval.high)


def _p(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.p_value(0.0, Alternative.GREATER)


def _sentence(row: MemorisationRow, alpha: float) -> str:
    if not row.reordered:
        return (
            f"{row.task}: the model is not shown the choices as a list, so min-k % ({row.min_k:.2f} nats, n = {row.n}) "
            "has "
            "nothing to be held against."
        )
    seen = [
        words
        for p, words in (
            (row.order_adjusted_p, f"the published order of choices is likelier ({row.order:+.3f} nats in min-k %)"),
            (row.loss_adjusted_p, f"another order costs {100 * (row.loss or 0):.1f} points of accuracy"),
        )
        if p is not None and p <= alpha
    ]
    if seen:
        return (
            f"{row.task}: the untouched model seems to have seen the items: {' and '.join(seen)} (n = {row.reordered})."
        )
    return (
        f"{row.task}: neither probe shows that the untouched model has seen the items (n = {row.reordered}), which "
        "does not "
        "show that it has not."
    )
