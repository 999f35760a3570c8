"""What the first screen says of every arm: layers, share of the gain kept, and the comparisons that judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from layersig.analysis.verdicts import Verdict
from layersig.findings.outcomes import Measure
from layersig.findings.rows.arms import COMPARISONS, RESULTS, AssayRow, ComparisonRow, ResultRow, ShareRow
from layersig.findings.rows.base import Role
from layersig.findings.rows.claims import CLAIMS
from layersig.findings.rows.layers import SELECTIONS, UNITS, SelectionRow
from layersig.layers import Unit
from layersig.recipe.schema import ALL_LAYERS, BASE
from layersig.report.material import Material
from layersig.report.shares import why_no_share

CONTROLS: tuple[Role, ...] = ("random control", "rule control")


@dataclass(frozen=True, slots=True)
class Standing:
    """An arm on a data set.

    Attributes:
        selection: What it tunes or removes.
        result: What it scores.
        kept: The share of the gain of all layers that it keeps; None where no share may be stated.
        against: Its comparisons with the baseline and with its controls.
        as_good: The conclusion on "as good as all layers"; None where that is not asked.
    """

    selection: SelectionRow
    result: ResultRow
    kept: ShareRow | None
    against: Mapping[Role, ComparisonRow]
    as_good: str | None

    @property
    def arm(self) -> str:
        """Its name."""
        return self.selection.arm

    def verdict(self, role: Role) -> Verdict | None:
        """The verdict of one of its comparisons."""
        found = self.against.get(role)
        return None if found is None or found.verdict is None else Verdict(found.verdict)


@dataclass(frozen=True, slots=True)
class Place:
    """What the arms did on one data set.

    Attributes:
        data: The data set that they were trained on.
        measure: What they are judged by.
        untouched: What the untouched model scores.
        all_layers: What tuning all layers scores.
        assay: What all layers gain.
        standings: The arms: what the report leads with, then controls.
        unstated: Why no share of the gain is stated, where none is.
    """

    data: str
    measure: Measure
    untouched: ResultRow | None
    all_layers: ResultRow | None
    assay: AssayRow | None
    standings: tuple[Standing, ...]
    unstated: tuple[str, ...]

    @property
    def lead(self) -> Standing:
        """The arm that the answer is about."""
        return self.standings[0]

    @property
    def prunes(self) -> bool:
        """Whether that arm removes its layers."""
        return self.lead.selection.action == "prune"

    @property
    def chooses_all(self) -> bool:
        """Whether that arm takes all layers, and so chooses none."""
        return self.lead.selection.layers == self.lead.selection.of

    @property
    def by_share(self) -> bool:
        """Whether the arms are shown by the share of the gain that they keep."""
        return not self.prunes and any(standing.kept for standing in self.standings)

    @property
    def idle(self) -> bool:
        """Whether all layers are not shown to gain more than the margin."""
        return self.assay is not None and self.assay.low <= self.assay.margin

    @property
    def silent(self) -> bool:
        """Whether nothing is said of the leading arm: neither its share of the gain nor how it differs from chance."""
        verdict = self.lead.verdict("random control")
        return self.lead.kept is None and (verdict is None or verdict.open)

    def arm(self, name: str) -> Standing | None:
        """One of the arms."""
        return next((standing for standing in self.standings if standing.arm == name), None)

    def control(self, role: Role) -> Standing | None:
        """The control that the leading arm is compared with."""
        found = self.lead.against.get(role)
        return None if found is None else self.arm(found.reference)


def places_of(material: Material) -> tuple[Place, ...]:
    """Every data set that selective arms were trained and measured on, in the order of the report."""
    arms = {row.arm for row in material.findings[SELECTIONS]}
    names = dict.fromkeys(row.data for row in material.findings[RESULTS] if row.arm in arms and row.data is not None)
    found = (_place(material, data) for data in names)
    return tuple(place for place in found if place is not None)


def pairs(material: Material, place: Place) -> Iterator[ComparisonRow]:
    """The comparisons of arms by what they are judged by."""
    for row in material.findings[COMPARISONS]:
        if (row.task, row.metric, row.data) == (place.measure.task, place.measure.metric, place.data):
            yield row


def _place(material: Material, data: str) -> Place | None:
    measure = material.own_measure(data)
    if measure is None:
        return None
    standings = tuple(_standings(material, measure, data))
    if not standings:
        return None
    shares = (material.share(measure, standing.arm, data) for standing in standings)
    unstated = dict.fromkeys(why for share in shares if share and (why := why_no_share(material, share)))
    return Place(
        data,
        measure,
        material.result(measure, BASE, data),
        material.result(measure, ALL_LAYERS, data),
        material.assay(measure, data),
        standings,
        tuple(unstated),
    )


def _standings(material: Material, measure: Measure, data: str) -> Iterator[Standing]:
    further = material.findings.further_controls
    rows = [row for row in material.findings[SELECTIONS] if row.data in (data, None) and row.arm not in further]
    for row in sorted(rows, key=_order(material, measure, data)):
        result = material.result(measure, row.arm, data)
        if result is None:
            continue
        share = material.share(measure, row.arm, data)
        stated = share is not None and why_no_share(material, share) is None
        compared = ((role, material.comparison(measure, row.arm, data, role)) for role in ("baseline", *CONTROLS))
        claims = (
            claim.conclusion
            for claim in material.findings[CLAIMS]
            if (claim.arm, claim.data, claim.task, claim.metric) == (row.arm, data, measure.task, measure.metric)
        )
        yield Standing(
            row,
            result,
            share if stated else None,
            {role: found for role, found in compared if found is not None},
            next(claims, None),
        )


def _order(material: Material, measure: Measure, data: str) -> Callable[[SelectionRow], int]:
    """The leading arms, then the controls of the first, then all others."""
    first = material.leading_arms[:1]
    compared = (material.comparison(measure, arm, data, role) for arm in first for role in CONTROLS)
    order = [*material.leading_arms, *(found.reference for found in compared if found is not None)]
    return lambda row: order.index(row.arm) if row.arm in order else len(order)


def amount_of(material: Material, row: SelectionRow) -> tuple[float, int, str]:
    """How many an arm selects, of how many, and what they are called: blocks where they are chosen as such."""
    blocks = len(material.findings[UNITS])
    if material.findings.unit == Unit.BLOCK.value and blocks and row.of % blocks == 0:
        return row.layers * blocks / row.of, blocks, "block"
    return row.layers, row.of, "layer"
