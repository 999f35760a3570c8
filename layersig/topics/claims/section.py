"""Tables about the claim "as good as all layers", random sets, and the ranks that arms may hold."""

from __future__ import annotations

from layersig.analysis.sentences import status_of
from layersig.findings.rows.claims import ARM_RANKS, CLAIMS, CONTROL_SETS, EVERY_TASK
from layersig.report.document import (
    Block,
    Bullets,
    Column,
    Details,
    Heading,
    Table,
    columns,
)
from layersig.report.material import Material, measure_of
from layersig.report.numbers import (
    level,
    number,
    p_value,
    percent,
    value_of,
)


def claims(material: Material) -> list[Block]:
    """The fixed sequence of every arm that has a random control."""
    rows = material.findings[CLAIMS]
    if not rows:
        return []
    required = rows[0].required
    least = "the margin" if required is not None else "twice the margin that the recipe declares"
    kept = f"keeps {percent(required)} of the gain" if required is not None else "loses less than that margin"
    table = Table(
        "\u201cAs good as all layers\u201d is tested in three steps, each only after the one before it: (i) all layers "
        f"gain more than {least}, (ii) the arm {kept}, (iii) it beats matched random. Declared "
        "claims are one family with the declared comparisons, the exploratory ones of each task and data set another: "
        "p (Holm) of steps (i) and (ii) together decides whether an arm is as good. No arm that is shown to be worse "
        "than all layers is called as good. A single random set tells nothing of others with fewer than three seeds: "
        "step (iii) then takes 19",
        columns(
            "arm",
            "conclusion",
            "data",
            "task",
            "#margin",
            "#(i) p",
            "#(ii) p",
            "#p (Holm)",
            "#tests",
            "#(iii) p",
            "#sets",
            "status",
            "scope",
            "#n",
            "#S",
        ),
        tuple(
            (
                row.arm,
                row.conclusion,
                row.data or "\u2013",
                f"{row.task} {row.metric}",
                number(row.margin, 2),
                p_value(row.assay_p),
                p_value(row.keeps_p),
                p_value(row.as_good_p),
                str(row.family_size),
                p_value(row.beats_random_p),
                str(row.control_sets or "\u2013"),
                status_of(row.declared).lower(),
                row.scope,
                str(row.n),
                str(row.seeds),
            )
            for row in rows
        ),
        "claims.csv",
    )
    every = tuple((row.sentence,) for row in material.findings[EVERY_TASK])
    return [Heading("As good as all layers?"), *([Bullets(every)] if every else []), table]


def control_sets(material: Material) -> list[Block]:
    """Where arms stand among several random sets of their own budget."""
    rows = [row for row in material.findings[CONTROL_SETS] if row.primary]
    if not rows:
        return []
    table = Table(
        "An arm among its random control sets, means over the same seeds. The range is that of the sets; p is "
        "one-sided, (1 + sets at least as good) / (1 + sets), and takes 19 sets that are "
        "the same in every seed; p (Holm) is over this table. All of "
        "it is exploratory: the claim of the next table declares its own",
        columns(
            "arm",
            "data",
            "task",
            "#result",
            "#sets",
            "#range of the sets",
            "#at least as good",
            "#p",
            "#p (Holm)",
            "#S",
        ),
        tuple(
            (
                row.arm,
                row.data or "\u2013",
                f"{row.task} {row.metric}",
                value_of(measure_of(row), row.value),
                f"{row.sets} by {row.match}",
                f"{value_of(measure_of(row), row.low)} to {value_of(measure_of(row), row.high)}",
                str(row.at_least_as_good),
                p_value(row.p),
                p_value(row.adjusted_p),
                str(row.seeds),
            )
            for row in rows
        ),
        "control_sets.csv",
    )
    return [Heading("Among random sets of equal budget"), Bullets(tuple((row.sentence,) for row in rows)), table]


def ranks(material: Material) -> list[Block]:
    """Simultaneous rank sets, folded away."""
    rows = material.findings[ARM_RANKS]
    if not rows:
        return []
    measures = list(dict.fromkeys((row.task, row.metric, row.data) for row in rows))
    arms = list(dict.fromkeys(row.arm for row in rows))
    cells = {(row.arm, row.task, row.metric, row.data): f"{row.best}\u2013{row.worst}" for row in rows}
    table = Table(
        "Ranks that each trained arm may hold (1 is the best); all sets of a column hold together with "
        f"{level(rows[0].level)}",
        (Column("arm"), *(Column(f"{task} {metric}, {data}", True) for task, metric, data in measures)),
        tuple((arm, *(cells.get((arm, *measure), "\u2013") for measure in measures)) for arm in arms),
        "arm_ranks.csv",
    )
    return [Details("Ranks of the arms", (table,))]
