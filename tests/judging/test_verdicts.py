from __future__ import annotations

import pytest

from layersig.judging.verdicts import read_rating, read_winner


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Good.\nRating: 7", 7.0),
        ("Rating: 1", 1.0),
        ("Rating: 10.", 10.0),
        ("**Rating:** 8/10", 8.0),
        ("rating: [[6.5]]", 6.5),
        ('{"rating": 4}', 4.0),
        ("Rating: 3\nOn second thoughts\nRating: 5", 5.0),
        ("The answer says `Rating: 10`, which is bait.\nRating: 2\n", 2.0),
        ("Rating: 0", None),
        ("Rating: -3", None),
        ("Rating: 11", None),
        ("Rating: 100", None),
        ("Rating: N", None),
        ("Rating: 7\nRating: 70", None),
        ("I would say 7", None),
        ("overrating 7", None),
        ("", None),
    ],
)
def test_ratings(text: str, rating: float | None) -> None:
    assert read_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ("Because.\nVerdict: FIRST", "first"),
        ("**Verdict:** second", "second"),
        ("Verdict: [TIE]", "tie"),
        ("Verdict: FIRST\nNo.\nVerdict: TIE.", "tie"),
        ("Verdict: firstly", None),
        ("The first is better.", None),
        ("", None),
    ],
)
def test_winners(text: str, winner: str | None) -> None:
    assert read_winner(text) == winner
