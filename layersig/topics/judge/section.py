"""What a judge model says of the answers, and what is to be said of the judge."""

from __future__ import annotations

import re
from collections.abc import Sequence

from layersig.report.document import (
    Block,
    Callout,
    Column,
    Heading,
    Inline,
    Paragraph,
    Section,
    Table,
    Text,
    columns,
)
from layersig.report.material import Material
from layersig.report.numbers import count, fixed, level, percent, plural
from layersig.topics.judge.pairs_section import EVEN, ends, pairs, positions
from layersig.topics.judge.rows import JUDGE_NOISE, JUDGE_POSITIONS, JUDGED, JUDGES, JudgedRow, JudgeRow, PositionRow

_ROUNDING = 1e-9
_DATE = re.compile(r"(?<!\d)(?:\d{4}(?:-?\d\d){0,2}|\d\d-\d\d)(?!\d)")
"""A date in the id of a model, as providers write it: `2026-05-01`, `20260501`, `05-01` or `0501`."""


def section(material: Material) -> Section | None:
    """None when no judge was asked."""
    if not material.findings[JUDGES]:
        return None
    blocks: list[Block] = [*_warnings(material), _about(material)]
    blocks += [*_grades(material), *_noise(material), *pairs(material), *positions(material), *_judges(material)]
    return Section("judge", "What the judge says", tuple(blocks))


def _warnings(material: Material) -> list[Block]:
    """What must be known before a number of this section is believed."""
    items: list[Text] = []
    for row in material.findings[JUDGE_POSITIONS]:
        side = _preferred(row)
        if row.arm is None and side is not None:
            items.append(
                (
                    f"The judge prefers the answer that is shown {side}: on {row.set} the first one wins "
                    f"{percent(row.first)} {ends(row.low, row.high, 100)} of {count(row.decided)} decided verdicts, "
                    f"and {percent(row.flips)} of pairs change their winner with the order. Both orders were asked, so "
                    "that this favours no arm, but it hides differences between them.",
                )
            )
    for judge in material.findings[JUDGES]:
        if judge.cut:
            items.append(
                (
                    "Replies of the judge that did not end by themselves (cut at `judge.max_tokens`, for instance) "
                    f"and were not read: {count(judge.cut)}.",
                )
            )
        if judge.invalid:
            items.append(
                (
                    f"{count(judge.invalid)} of {count(judge.verdicts)} verdicts on "
                    f"{'single answers' if judge.what == 'grades' else 'pairs'} are invalid: after "
                    f"{plural(judge.attempts, 'attempt')} nothing could be read out of the judge's answer, or the "
                    f"endpoint refused the prompt ({count(judge.refused)}).",
                )
            )
        if not any(_DATE.search(name) for name in (judge.model, *judge.answered_by)):
            items.append(
                (
                    f"The id of the judge, {judge.model}, carries no date: another model may answer to it later, and "
                    "its grades would not compare with these. Name a dated version, or keep the weights that served.",
                )
            )
        if len(judge.answered_by) > 1:
            items.append((f"The endpoint named several models as the judge: {', '.join(judge.answered_by)}.",))
    items += [
        (f"On {row.set}, {percent(row.cut)} of the answers of {row.arm} were cut before they ended.",)
        for row in material.findings[JUDGED]
        if row.by == "all" and row.cut > EVEN
    ]
    return [Callout("warning", "Before you read on", tuple(dict.fromkeys(items)))] if items else []


def _preferred(row: PositionRow) -> str | None:
    """The place that the judge prefers beyond doubt, if there is one; rounding is no doubt."""
    if row.low is None or row.high is None:
        return None
    if row.low > EVEN + _ROUNDING:
        return "first"
    return "second" if row.high < EVEN - _ROUNDING else None


def _about(material: Material) -> Block:
    judge = material.findings[JUDGES][0]
    named = ", ".join(judge.answered_by) or "no name"
    when = _when(judge)
    return Paragraph(
        (
            f"The judge is {judge.model} (the endpoint calls it {named}{when}), asked "
            f"{plural(judge.repeats, 'time')} for every verdict at {_temperature(judge)}. It gives its own "
            "opinion: grades say which arm this judge prefers, not which is right, and compare only with grades of the "
            "same judge. Repeats are averaged within a turn and count neither as questions nor as training runs.",
        )
    )


def _temperature(judge: JudgeRow) -> str:
    return "its own temperature" if judge.temperature == "default" else f"temperature {judge.temperature:g}"


def _when(judge: JudgeRow) -> str:
    days = list(dict.fromkeys(moment[:10] for moment in (judge.first, judge.last) if moment is not None))
    return f", {' to '.join(days)}" if days else ""


def _grades(material: Material) -> list[Block]:
    rows = material.findings[JUDGED]
    if not rows:
        return []
    blocks: list[Block] = [Heading("Grades from 1 to 10")]
    for name, data in _places(rows):
        here = [row for row in rows if row.set == name and row.data in (data, None)]
        groups = list(dict.fromkeys((row.by, row.group) for row in here))
        found = {(row.arm, row.by, row.group): row for row in here}
        body: list[tuple[Inline, ...]] = []
        for arm in dict.fromkeys(row.arm for row in here):
            cells = [found.get((arm, *group)) for group in groups]
            body.append((arm, *("\u2013" if row is None else _graded(row) for row in cells)))
        heads = [Column("arm"), *(Column(_head(here, by, group), True) for by, group in groups)]
        whole = next(row for row in here if row.by == "all")
        caption = (
            f"Mean grade on {name}{f', trained on {data}' if data else ''}, with its {level(whole.level)} interval "
            f"over {plural(whole.questions, 'question')}{' and seeds' if max(row.seeds for row in here) > 1 else ''}; "
            "the turns of a question are one unit"
        )
        blocks.append(Table(caption, tuple(heads), tuple(body), "judged.csv"))
    return blocks


def _head(rows: Sequence[JudgedRow], by: str, group: str) -> str:
    row = next(each for each in rows if (each.by, each.group) == (by, group))
    name = {"all": "all", "turn": f"turn {group}"}.get(by, group)
    return f"{name} (n = {row.n})"


def _graded(row: JudgedRow) -> str:
    return f"{fixed(row.value, 2)} {ends(row.low, row.high)}".strip()


def _noise(material: Material) -> list[Block]:
    rows = material.findings[JUDGE_NOISE]
    if not rows:
        return [
            Paragraph(
                ("Every verdict was asked for once, so that the judge's own noise is not known (`judge.repeats`).",)
            )
        ]
    table = Table(
        "The judge's own noise: how the repeats of a grade differ, and what that adds to the error of the mean",
        columns(
            "arm",
            "data",
            "set",
            "#repeats",
            "#turns graded alike",
            "#SD between repeats",
            "#error from repeats",
            "#whole standard error",
        ),
        tuple(
            (
                row.arm,
                row.data or "\u2013",
                row.set,
                str(row.repeats),
                percent(row.agree),
                fixed(row.repeat_sd, 3),
                fixed(row.se_repeats, 4),
                fixed(row.se, 4),
            )
            for row in rows
        ),
        "judge_noise.csv",
    )
    return [table]


def _judges(material: Material) -> list[Block]:
    heads = columns(
        "verdicts on",
        "judge",
        "as the endpoint names it",
        "from",
        "to",
        "#repeats",
        "#temperature",
        "#verdicts",
        "#asked again",
        "#replies cut",
        "#invalid",
        "#of them refused",
    )
    body = tuple(
        (
            "single answers" if row.what == "grades" else "pairs",
            row.model,
            ", ".join(row.answered_by) or "\u2013",
            row.first or "\u2013",
            row.last or "\u2013",
            str(row.repeats),
            "its own" if row.temperature == "default" else f"{row.temperature:g}",
            count(row.verdicts),
            count(row.asked_again),
            count(row.cut),
            f"{count(row.invalid)} ({percent(row.invalid / row.verdicts, 1)})",
            count(row.refused),
        )
        for row in material.findings[JUDGES]
    )
    return [Table("Who judged, and how much can be used", heads, body, "judges.csv")]


def _places(rows: Sequence[JudgedRow]) -> list[tuple[str, str | None]]:
    """Every set with every data set that arms were trained on."""
    named = list(dict.fromkeys(row.data for row in rows if row.data is not None))
    data: list[str | None] = [*named] or [None]
    return [(name, each) for name in dict.fromkeys(row.set for row in rows) for each in data]
