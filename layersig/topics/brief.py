"""The answer of a report in a few lines for a terminal, from the same findings."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.analysis.verdicts import Verdict
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import SELECTIONS, SelectionRow
from layersig.report.document import Text
from layersig.report.material import Material
from layersig.report.numbers import count, percent, plural
from layersig.report.terminal import VERDICTS, aligned
from layersig.topics.answer import which_layers, why_no_share

_MOST = 12
"""Arms that are shown; the report has all of them."""
_HEAD = ("arm", "layers", "gain kept", "against random", "against {baseline}")


def brief(material: Material) -> str:
    """For every data set the arms with layers, share of the gain kept and verdicts; without arms, the top layers."""
    arms = {row.arm for row in material.findings[SELECTIONS]}
    places = dict.fromkeys(row.data for row in material.findings[RESULTS] if row.arm in arms and row.data is not None)
    parts = [part for place in places for part in _table(material, place)]
    if not parts:
        parts = [_plain(which_layers(material, row)) for row in material.lead if material.findings.sizes]
    if material.findings.smoke:
        parts.append("A smoke run checks that everything works; its numbers mean nothing.")
    return "\n".join(parts)


def _table(material: Material, data: str) -> Iterator[str]:
    measure = material.own_measure(data)
    rows = [row for row in _selections(material, data) if measure and material.result(measure, row.arm, data)]
    if measure is None or not rows:
        return
    first = material.result(measure, rows[0].arm, data)
    assert first is not None, "rows without a result were left out"
    scope = "these checkpoints, not the method" if first.scope == "checkpoints" else "the method"
    level = next((f"{100 * kept.level:.4g} % " for row in rows if (kept := material.share(measure, row.arm, data))), "")
    yield (
        f"{measure.metric} of {measure.task}, trained on {data}: {plural(first.n, 'item')}, "
        f"{plural(first.seeds, 'seed')} (about {scope}); in brackets the {level}interval"
    )
    head = tuple(cell.format(baseline=material.findings.baseline) for cell in _HEAD)
    yield from aligned([head, *(_cells(material, measure, row, data) for row in rows[:_MOST])])
    if len(rows) > _MOST:
        yield f"and {plural(len(rows) - _MOST, 'further arm')} in the report"
    reasons = (material.share(measure, row.arm, data) for row in rows)
    untold = dict.fromkeys(why for kept in reasons if kept and (why := why_no_share(material, kept, data)))
    yield from (f"no share of the gain is stated where {why}" for why in untold)


def _selections(material: Material, data: str) -> list[SelectionRow]:
    """The selections of arms that were trained on a data set: what the report leads with, then controls."""
    own = [row for row in material.findings[SELECTIONS] if row.data in (data, None)]
    order = material.leading_arms
    return sorted(own, key=lambda row: order.index(row.arm) if row.arm in order else len(order))


def _cells(material: Material, measure: Measure, row: SelectionRow, data: str) -> tuple[str, ...]:
    kept = material.share(measure, row.arm, data)
    stated = "\u2013"
    if kept is not None and why_no_share(material, kept, data) is None:
        ends = f"{percent(kept.low)} to {percent(kept.high)}".replace(" %", "", 1)
        stated = f"{percent(kept.share)} ({ends})"
    verdicts = (_verdict(material, measure, row.arm, data, role) for role in ("random control", "baseline"))
    return row.arm, f"{count(round(row.layers, 1))} of {row.of}", stated, *verdicts


def _verdict(material: Material, measure: Measure, arm: str, data: str, role: str) -> str:
    found = material.comparison(measure, arm, data, role)
    if found is None or found.verdict is None:
        return "\u2013"
    return VERDICTS[Verdict(found.verdict)]


def _plain(text: Text) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in text)
