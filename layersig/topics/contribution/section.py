"""Contribution of single units: a table for every run, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from layersig.report.document import Block, Code, Details, Paragraph, Section, Table, columns
from layersig.report.material import Material
from layersig.report.numbers import fixed, number, p_value, set_of
from layersig.report.numbers import level as level_of
from layersig.topics.contribution.rows import CONTRIBUTIONS, ContributionRow

_SHOWN = 12


def section(material: Material) -> Section | None:
    """None without a run of `layer-contribution`."""
    rows = material.findings[CONTRIBUTIONS]
    if not rows:
        return None
    runs: dict[tuple[str, str | None, int | None], list[ContributionRow]] = {}
    for row in rows:
        runs.setdefault((row.scorer, row.data, row.seed), []).append(row)
    about = Paragraph(
        (
            "Each unit was trained alone. C is the gain of that unit divided by the gain of training everything: 1 "
            "where one unit does as well as all. The best of many noisy gains is too high where it was chosen, "
            "so read it on fresh conversations. Intervals are over conversations, for these trainings: another seed "
            "trains otherwise.",
        )
    )
    tables = [_table(found) for found in runs.values()]
    blocks: list[Block] = [about, _best(next(iter(runs.values()))), tables[0]]
    if tables[1:]:
        blocks.append(Details("The other runs", tuple(tables[1:])))
    return Section("contribution", "One unit trained alone", tuple(blocks))


def _best(rows: Sequence[ContributionRow]) -> Paragraph:
    best = max(rows, key=lambda row: row.gain)
    sure = sum(row.low > 0 for row in rows)
    return Paragraph(
        (
            f"{sure} of {len(rows)} units gain something on their own (max-T band above 0). The best is ",
            Code(best.layer),
            f", with C = {fixed(best.contribution, 2)} where it was chosen and {_fresh(best)} on fresh conversations.",
        )
    )


def _table(rows: Sequence[ContributionRow]) -> Table:
    first = rows[0]
    ordered = sorted(rows, key=lambda row: -row.gain)[:_SHOWN]
    seed = "" if first.seed is None else f", seed {first.seed}"
    return Table(
        f"{first.scorer} on {first.data}{seed}: the {len(ordered)} best of {len(rows)} units, on {first.groups} groups "
        f"of conversations; sets and bands at {level_of(first.level)}",
        columns("unit", "#gain [band of all units]", "#p, max-T", "#C [Fieller's set]", "#C on fresh conversations"),
        tuple(
            (
                Code(row.layer),
                f"{number(row.gain)} [{number(row.low)}, {number(row.high)}]",
                p_value(row.adjusted_p),
                _ratio(row.contribution, row.shape, row.contribution_low, row.contribution_high),
                _fresh(row),
            )
            for row in ordered
        ),
        "contributions.csv",
    )


def _fresh(row: ContributionRow) -> str:
    return _ratio(row.fresh_contribution, row.fresh_shape, row.fresh_low, row.fresh_high)


def _ratio(value: float | None, shape: str | None, low: float | None, high: float | None) -> str:
    found = fixed(value, 2)
    return found if shape is None else f"{found}, {set_of(shape, low, high, lambda end: fixed(end, 2))}"
