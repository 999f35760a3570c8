"""Totals of a plan: what is unknown is no zero, and what is partly known is a lower bound."""

from __future__ import annotations

import pytest

from layersig.planning.costs import Total, _total
from layersig.planning.text import _number, _told


@pytest.mark.parametrize(
    ("parts", "value", "unknown"),
    [
        ([], 0.0, 0),
        ([(0.0, False), (0.0, False)], 0.0, 0),
        ([(None, True), (None, True)], None, 2),
        ([(0.05, False), (None, True)], None, 1),
        ([(0.05, False), (7.0, True), (None, True)], 7.05, 1),
        ([(3.0, True), (4.0, True)], 7.0, 0),
    ],
    ids=["nothing left", "free stages", "nothing known", "only a trifle known", "some known", "all known"],
)
def test_a_total_is_unknown_where_no_stage_that_counts_is_known(
    parts: list[tuple[float | None, bool]], value: float | None, unknown: int
) -> None:
    assert _total(parts) == Total(pytest.approx(value) if value else value, unknown)


def test_a_peak_is_the_largest_and_not_the_sum() -> None:
    assert _total([(3.0, True), (4.0, True), (None, True)], max) == Total(4.0, 1)


@pytest.mark.parametrize(
    ("total", "at_most", "said"),
    [
        (Total(None, 3), False, "? calls"),
        (Total(None, 3), True, "? calls"),
        (Total(1200.0, 0), False, "1,200 calls"),
        (Total(1200.0, 0), True, "at most 1,200 calls"),
        (Total(1200.0, 1), False, "at least 1,200 calls, 1 stage unknown"),
        (Total(1200.0, 2), True, "at most 1,200 calls in the stages that are known, 2 stages unknown"),
    ],
)
def test_a_total_says_what_it_bounds(total: Total, at_most: bool, said: str) -> None:
    assert _told(total, _number, after=" calls", at_most=at_most) == said
