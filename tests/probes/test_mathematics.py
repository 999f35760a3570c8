from __future__ import annotations

import pytest

from layersig.probes.mathematics import equal, final_answer, normalised


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $x=3$. \boxed{3}", "3"),
        (r"\boxed{1} no, \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{4} and then \boxed{broken", "4"),
        ("He has 5 + 3 = 8.\n#### 1,234", "1,234"),
        ("The answer is 42.", "42"),
        ("Final Answer: The final answer is $[2,5)$. I hope it is correct.", "[2,5)"),
        ("**Answer:** 7", "7"),
        ("## Final Answer\n\n7", "7"),
        ("**Answer**: 7", "7"),
        ("__Answer__\n\\(x\\)", "\\(x\\)"),
        ("The answer is 7 apples.", "7"),
        ("The answer is therefore 1,200 dollars, since 1000 + 200 = 1200.", "1,200"),
        ("The answer is 7, as 3 + 4 = 7", "7"),
        ("The answer is Evelyn.", "Evelyn"),
        (r"The answer is \frac{1}{2}", r"\frac{1}{2}"),
        ("Let us answer step by step.\n3 + 4 = 7\nSo there are 7 apples", "7"),
        ("The answer to the question takes two sums: 3 + 4 = 7, 7 + 1 = 8", "8"),
        ("First 3, then 12 apples", "12"),
        ("First 3, then 12, and no more", "12"),
        ("It costs $1,200.50 in all", "$1,200.50"),
        ("no result", None),
        ("", None),
    ],
)
def test_where_the_result_stands(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\frac12", r"\frac{1}{2}"),
        (r"\sqrt2", r"\sqrt{2}"),
        ("12,345,678", "12345678"),
        ("(1,234)", "(1234)"),
        ("1, 234", "1,234"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"5 \text{ inches}", "5"),
        (r"25 \text{ cm}^2", "25"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"90^\circ", "90"),
        (r"10\%", "10"),
        (r"x = 5", "5"),
        (r"f(x) = 2x", "2x"),
        (r"\$18.00", "18.00"),
        ("7.", "7"),
        (r"\leftarrow", r"\leftarrow"),
    ],
)
def test_the_normal_form(given: str, normal: str) -> None:
    assert normalised(given) == normal


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("18", "18.00", True),
        ("$18", "18 ", True),
        ("1,000", "1000", True),
        ("0.5", r"\frac{1}{2}", True),
        ("1/2", r"\dfrac12", True),
        ("-0.25", r"-\frac{1}{4}", True),
        (".5", "0.50", True),
        ("1/3", "0.333", False),
        ("(3, 0.5)", r"\left(3, \frac12\right)", True),
        ("(3, 0.5)", "[3, 0.5]", False),
        ("(1,2)", "(1,2,3)", False),
        (r"\{1,2\}", r"\{ 1.0, 2 \}", True),
        ("2x+2", "2(x+1)", False),
        ("3", "4", False),
        ("1/0", "1/0", True),
        ("1/0", "2/0", False),
        ("", "3", False),
        ("16", r"16 \text{ hours}", True),
        (r"p - q", "p-q", True),
    ],
)
def test_equal_results(one: str, other: str, same: bool) -> None:
    assert equal(one, other) == equal(other, one) == same
