"""Sanity of the scores: one line for every ranking, and what to be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.analysis.sharing import SharingVerdict
from layersig.report.document import Block, Bullets, Code, Inline, Paragraph, Section, Table, columns
from layersig.report.material import Material, place_of
from layersig.report.numbers import count, fixed, p_value, percent
from layersig.topics.sanity.compute import FITTED, NATURAL
from layersig.topics.sanity.rows import SANITY, TEXTS, TIES, SanityRow, TextRow, TieRow

_AS_GOOD = 0.9
"""Share of the agreement of a ranking's own runs from which on a rule is said to give the same layers (ours)."""
_TEXTS = {
    "natural": "another data set",
    "shuffled-words": "words in random order",
    "random-tokens": "random tokens",
}


def section(material: Material) -> Section | None:
    """None without a ranking that looks at the model."""
    rows, ties, texts = material.findings[SANITY], material.findings[TIES], material.findings[TEXTS]
    if not rows:
        return None
    about = Paragraph(
        (
            "A score of layers may follow a rule that looks at neither the model nor the data, or measure the model "
            "and not the task. Kappa is 0 at chance and 1 for the same layers; own runs are other seeds of the same "
            "ranking, the most that can be expected of anything else.",
        )
    )
    blocks: list[Block] = [about, _card(rows, ties)]
    if texts:
        blocks.append(_texts(texts))
    if warnings := list(_warnings(rows, ties, texts)):
        blocks.append(Bullets(tuple((warning,) for warning in warnings)))
    return Section("sanity", "Sanity of the scores", tuple(blocks))


def _card(rows: Sequence[SanityRow], ties: Sequence[TieRow]) -> Table:
    body: list[tuple[Inline, ...]] = []
    for tie in ties:
        own = [row for row in rows if _key(row) == _key(tie)]
        nearest = _nearest(own)
        (fitted,) = [row for row in own if row.rule == FITTED]
        spread = "" if nearest.low is None else f" [{fixed(nearest.low, 2)}, {fixed(nearest.high, 2)}]"
        body.append(
            (
                Code(tie.scorer),
                place_of(tie.data, tie.checkpoint),
                str(tie.k),
                Code(nearest.rule),
                f"{fixed(nearest.kappa, 2)}{spread}",
                f"[{fixed(nearest.chance_low, 2)}, {fixed(nearest.chance_high, 2)}]",
                fixed(fitted.kappa, 2),
                fixed(nearest.ceiling, 2),
                count(tie.tied),
                count(tie.undecided),
                fixed(tie.size_correlation, 2),
            )
        )
    return Table(
        f"Every ranking beside rules of place, at each size; the nearest of {len({row.rule for row in rows}) - 1}",
        columns(
            "scorer",
            "on",
            "#k",
            "nearest rule",
            "#kappa with it",
            "#chance, 95 %",
            "#kappa with type x depth",
            "#own runs",
            "#units with a tied score",
            "#places that ties leave open",
            "#correlation with size",
        ),
        tuple(body),
        "sanity.csv",
    )


def _texts(rows: Sequence[TextRow]) -> Table:
    return Table(
        "Does the ranking depend on what the data say? Agreement of one scorer on two texts",
        columns(
            "scorer",
            "on",
            "and",
            "text of the second",
            "#k",
            "#kappa",
            "#own runs",
            "#ratio",
            "#lower bound",
            "#p, corrected",
            "verdict",
        ),
        tuple(
            (
                Code(row.scorer),
                place_of(row.a, row.checkpoint),
                row.b,
                _TEXTS[row.text],
                str(row.k),
                fixed(row.kappa, 2),
                fixed(row.ceiling, 2),
                fixed(row.ratio, 2),
                fixed(row.lower, 2),
                p_value(row.adjusted_p),
                row.verdict or "\u2013",
            )
            for row in rows
        ),
        "texts.csv",
    )


def _warnings(rows: Sequence[SanityRow], ties: Sequence[TieRow], texts: Sequence[TextRow]) -> Iterator[str]:
    for tie in ties:
        top = f"top {tie.k} of {tie.scorer} on {place_of(tie.data, tie.checkpoint)}"
        nearest = _nearest([row for row in rows if _key(row) == _key(tie)])
        ceiling = 1.0 if nearest.ceiling is None else nearest.ceiling
        if nearest.kappa > nearest.chance_high and nearest.kappa >= _AS_GOOD * ceiling:
            own = "" if nearest.ceiling is None else f", and its own runs agree with kappa {fixed(nearest.ceiling, 2)}"
            yield f"The {top} may be a rule of place: {nearest.rule} agrees with kappa {fixed(nearest.kappa, 2)}{own}."
        if tie.undecided:
            places = "1 place is" if tie.undecided == 1 else f"{count(tie.undecided)} places are"
            yield f"Scores do not decide all of the {top}: {places} tied and filled in model order."
    for row in texts:
        named, other = f"The top {row.k} of {row.scorer} on {row.a}", f"{_TEXTS[row.text]} ({row.b})"
        if row.text != NATURAL and row.verdict == SharingVerdict.SHARED.value:
            yield (
                f"{named} hardly depends on what the data say: with {other} it agrees {percent(row.ratio)} as well as "
                f"with another seed (lower bound {percent(row.lower)}, corrected p {p_value(row.adjusted_p)})."
            )
        if row.text != NATURAL and row.verdict == SharingVerdict.EQUAL.value:
            yield f"{named} does not depend on what the data say: it is the same with {other}, with every seed."


def _nearest(rows: Sequence[SanityRow]) -> SanityRow:
    """The rule that gives most of the same layers, of those that know nothing of the ranking."""
    return max((row for row in rows if row.rule != FITTED), key=lambda row: row.kappa)


def _key(row: SanityRow | TieRow) -> tuple[object, ...]:
    return row.scorer, row.checkpoint, row.data, row.k
