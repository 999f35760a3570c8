"""Training on self-generated responses against training on given ones."""

from __future__ import annotations

from layersig.findings.outcomes import Measure
from layersig.report.document import Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import difference_of, interval_of, level, p_value, value_of
from layersig.topics.own_responses.rows import OWN_RESPONSES, OwnResponsesRow

_NONE = "\u2013"


def section(material: Material) -> Section | None:
    """None unless an arm is trained on a data set and on the model's own responses to its prompts."""
    rows = material.findings[OWN_RESPONSES]
    if not rows:
        return None
    about = Paragraph(
        (
            "The same arm trained on the model's own responses, minus trained on the responses that came with the same "
            f"rows: same items and seeds, {level(rows[0].level)} intervals, p by Holm's method over all "
            "primary measures and arms. Nothing here was declared: all of it is exploratory. Rows whose own response "
            "was dropped have only the given one, and a prompt that several rows share was asked once. On held-out "
            "responses of one kind, training on that kind has the advantage; tasks favour neither. Where the layers "
            "differ, since each data set has a ranking of its own, the difference is of layers and responses together: "
            "`ranked_on` in an arm gives both the same.",
        )
    )
    heads = columns(
        "arm", "own responses", "given responses", "task", "metric", "#on own", "#on given", "#difference", "#interval",
        "#p", "#p, corrected", "same layers", "#n", "#S",
    )  # fmt: skip
    table = Table("Own minus given", heads, tuple(map(_line, rows)), "own_responses.csv")
    return Section("own-responses", "Self-generated against given responses", (about, table))


def _line(row: OwnResponsesRow) -> tuple[Inline, ...]:
    measure = Measure(row.task, row.metric, row.higher_is_better)
    return (
        row.arm,
        row.own,
        row.given,
        row.task,
        row.metric,
        value_of(measure, row.on_own),
        value_of(measure, row.on_given),
        difference_of(measure, row.difference),
        interval_of(measure, row.low, row.high),
        p_value(row.p),
        p_value(row.adjusted_p),
        _NONE if row.same_layers is None else "yes" if row.same_layers else "no",
        str(row.n),
        str(row.seeds),
    )
