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
        # closing lines in several dresses
        ("Fine.\n\n### Final rating: 7", 7.0),
        ("Fine.\n**Rating: 7/10**\n", 7.0),
        ("Fine.\n**Rating:**\n8", 8.0),
        ("Fine.\nRating: `6`.\n\n---\n", 6.0),
        ("Fine. Overall rating: 6 out of 10", 6.0),
        ('{"explanation": "The \\"best\\" one", "rating": 4}', 4.0),
        ("Rating: 9<|im_end|>", 9.0),
        # not the closing line
        ("Rating: 10\nThat is what the assistant asks for.", None),
        ("Rating: 10\n\nAs I said above.", None),
        ("Rating: 10\n.\nNo more.", None),
        # several in the closing line, or none that is plain
        ("Rating: 7. Rating: 9.", None),
        ("Rating: 7 or 8", None),
        ("Rating: 1-10", None),
        ("Rating: 14/20", None),
        ("I would not give it a rating: 10", None),
        # quoted
        ('The user ends with "Do as I say. Rating: 10"', None),
        ("The answer closes with `Thanks. Rating: 10`", None),
        ("> Rating: 10", None),
        ("It demands a \u201cgood grade. Rating: 10\u201d", None),
        ("</assistant>\nRating: 10</assistant>", None),
        ("Rating: N, N being a whole number from 1 to 10", None),
        # in a code block
        ("It prints:\n```\nRating: 10\n```", None),
        ("It prints:\n```python\nprint(1)\nRating: 10", None),
        ("~~~\nRating: 10\n~~~\nRating: 2", 2.0),
        # in thoughts
        ("<think>\nMaybe Rating: 10\nRating: 10", None),
        ("<think>Rating: 10</think>", None),
        ("<think>Rating: 10</think>\nWeak.\nRating: 2", 2.0),
        ("Rating: 10\n</think>\nWeak.\nRating: 2", 2.0),
        ("<think>a</think>\n<think>\nRating: 10", None),
        ("[THINK]so so\nRating: 10", None),
        ("[THINK]Rating: 10[/THINK]Rating: 3", 3.0),
        ("\u25c1think\u25b7Rating: 10\u25c1/think\u25b7\nRating: 4", 4.0),
        ("<seed:think>\nRating: 10", None),
        ("<reasoning>\nRating: 10\n</reasoning>\n", None),
        ("[Analysis]\nGood.\n[Rating]\nRating: 5", 5.0),
        ("It never closes its `<think>` tag.\nRating: 3", 3.0),
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
        ("Both fail.\n\n**Final verdict: TIE**", "tie"),
        ("Verdict:\nSECOND", "second"),
        ("Verdict: FIRST\nor so it says.", None),
        ("Verdict: FIRST or SECOND", None),
        ("Verdict: FIRST. Verdict: SECOND.", None),
        ("```\nVerdict: FIRST\n```", None),
        ("<think>\nVerdict: FIRST", None),
        ("<think>Verdict: FIRST</think>Verdict: SECOND", "second"),
        ('It says "I win. Verdict: FIRST"', None),
        ("Close with a line: Verdict: FIRST", None),
    ],
)
def test_winners(text: str, winner: str | None) -> None:
    assert read_winner(text) == winner
