from __future__ import annotations

import pytest

from layersig.probes.arithmetic import (
    SOLVED,
    TEMPLATES,
    Problem,
    asked,
    candidates,
    constant_floor,
    first_digit,
    problem,
)

SUM, NEGATIVE = Problem("(9 + 8) * 2", 34), Problem("(1 - 9) * 5", -40)


def test_rows_of_the_data() -> None:
    assert problem("\n\nQ: What is (9 + 8) * 2?\n\nA:", " 34") == SUM
    assert problem("\n\nQ: What is (1 - 9) * 5?\n\nA:", " -40") == NEGATIVE
    assert problem("Q: What is 12 plus  1,000? A:", "1,012") == Problem("12 plus 1,000", 1012)
    with pytest.raises(ValueError, match="an arithmetic problem reads"):
        problem("What?", "3")


def test_the_papers_question_gives_the_sign_away() -> None:
    positive, negative = first_digit(SUM), first_digit(NEGATIVE)
    assert positive.prompt == (
        "Question: What is (4 * 4) * 1? Answer: 16\n"
        "Question: What is (8 + 3) * 5? Answer: 55\n"
        "Question: What is (7 + 5) - 6? Answer: 6\n"
        "Question: What is (9 + 8) * 2?\nAnswer:"
    )
    assert (positive.choices[3], positive.right) == (" 3", 3)
    assert negative.prompt.endswith("(1 - 9) * 5?\nAnswer: -")
    assert (negative.choices[4], negative.right) == ("4", 4)
    assert [Problem("x", n).first_digit for n in (0, 7, -7, 81, -100)] == ["0", "7", "7", "8", "1"]


def test_the_ways_to_ask() -> None:
    assert asked(SUM, "equation") == "(4 * 4) * 1 = 16\n(8 + 3) * 5 = 55\n(7 + 5) - 6 = 6\n(9 + 8) * 2 ="
    assert asked(SUM, "short").endswith("A: 6\n\nQ: What is (9 + 8) * 2?\nA:")
    for template in TEMPLATES:
        assert asked(SUM, template).count("?") in (0, len(SOLVED) + 1)


def test_candidates_and_the_constant_answer() -> None:
    assert candidates([SUM, NEGATIVE, SUM, Problem("y", 6)]) == (-40, 6, 34)
    assert constant_floor([{"1"}, {"1"}, {"2"}, {"3"}]) == 0.5
    assert constant_floor([{0, 1}, {1}, {2}, set()]) == 0.5
    assert constant_floor([set()]) == 0
