"""Whether the untouched model may have seen what it is asked."""

from __future__ import annotations

from layersig.report.document import Bullets, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, p_value, percent
from layersig.topics.memorisation.rows import MEMORISATION

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None where no task was probed."""
    rows = material.findings[MEMORISATION]
    if not rows:
        return None
    about = (
        "Min-k % is the mean log-probability of the 20 % least likely tokens of an item's text (Shi et al. 2023). It "
        "depends "
        "on the text, so that tasks cannot be compared by it; where the model is shown the choices, it is held against "
        "the "
        "same text with the choices in another order, which is as likely for a text never seen (Oren et al. 2023), "
        "unless "
        "a benchmark sorts its choices. Accuracy falls under another order where answers are known by heart, and where "
        "a "
        "model prefers a place that is right more often. Neither probe can show that items were not seen."
    )
    table = Table(
        "Probes of memorisation on the untouched model; one-sided p by Holm's method over both probes of all tasks",
        columns(
            "task",
            "#items",
            "#min-k % [interval]",
            "#items reordered",
            "#published order [interval]",
            "#p, order",
            "#accuracy",
            "#accuracy reordered",
            "#loss in points [interval]",
            "#p, loss",
        ),
        tuple(
            (
                row.task,
                count(row.n),
                f"{fixed(row.min_k, 2)} {_interval(row.min_k_low, row.min_k_high, 2)}",
                count(row.reordered),
                f"{fixed(row.order, 3, signed=True)} {_interval(row.order_low, row.order_high, 3)}",
                p_value(row.order_adjusted_p),
                percent(row.acc, 1),
                percent(row.acc_reordered, 1),
                f"{fixed(_points(row.loss), 1, signed=True)} "
                f"{_interval(_points(row.loss_low), _points(row.loss_high), 1)}",
                p_value(row.loss_adjusted_p),
            )
            for row in rows
        ),
        "memorisation.csv",
    )
    items = tuple((row.sentence,) for row in rows)
    return Section("memorisation", "Memorisation", (Bullets(items), Paragraph((about,)), table))


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _interval(low: float | None, high: float | None, decimals: int) -> str:
    return "" if low is None and high is None else f"[{fixed(low, decimals)}, {fixed(high, decimals)}]"
