"""Arithmetic by likelihood: the paper's probe of the first digit, and a probe of complete answers.

Both ask GPT-3's arithmetic problems (Brown et al. 2020), such as "What is (9 + 8) * 2?", behind three solved ones.

The first-digit probe is that of arXiv 2602.01997: the prompt gives the sign away, and the answer counts as right when
its first digit is the likeliest of the ten. It has two faults, which is why it is here for comparison only. A
constant "1" scores about 30 %. And where a token holds several digits, the digit that is asked for never occurs alone.

The probe of complete answers scores every answer that occurs in the data, with its sign and the line break that ends
it, so that neither the length of an answer nor the cut into tokens decides, under three ways to ask.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

TEMPLATES = {
    "question": "Question: What is {expression}?\nAnswer:",
    "short": "Q: What is {expression}?\nA:",
    "equation": "{expression} =",
}
"""How a problem is asked, by name; an answer follows behind a space."""

_PAPER_SOLVED = "Question: What is {expression}? Answer: {answer}\n"
_CONTEXT = re.compile(r"Q:\s*What is (?P<expression>.+?)\?\s*A:")


class Problem(NamedTuple):
    """An arithmetic problem.

    Attributes:
        expression: Such as `(9 + 8) * 2`.
        answer: Its value.
    """

    expression: str
    answer: int

    @property
    def first_digit(self) -> str:
        """The first digit of its magnitude."""
        return str(abs(self.answer))[0]


SOLVED = (Problem("(4 * 4) * 1", 16), Problem("(8 + 3) * 5", 55), Problem("(7 + 5) - 6", 6))
"""What stands solved before every problem, and is none of the problems itself (the paper's three)."""


def problem(context: str, completion: str) -> Problem:
    r"""A row of the data: `\n\nQ: What is (9 + 8) * 2?\n\nA:` and ` 34`.

    Raises:
        ValueError: It is no such row.
    """
    found = _CONTEXT.search(context)
    if found is None:
        raise ValueError(f"an arithmetic problem reads `Q: What is ...? A:`; got {context!r}")
    return Problem(" ".join(found["expression"].split()), int(completion.strip().replace(",", "")))


def asked(one: Problem, template: str) -> str:
    """The prompt of a problem, up to where the answer follows behind a space."""
    text = TEMPLATES[template]
    solved = [f"{text.format(expression=each.expression)} {each.answer}\n" for each in SOLVED]
    between = "" if template == "equation" else "\n"
    return between.join([*solved, text.format(expression=one.expression)])


class FirstDigit(NamedTuple):
    """The paper's question: what follows a prompt, of ten continuations."""

    prompt: str
    choices: tuple[str, ...]
    right: int


def first_digit(one: Problem) -> FirstDigit:
    """The paper's prompt of a problem with its ten continuations, and which is right.

    Its solved problems are on a line each, and the one that is asked on two. It ends with a space; here that space
    belongs to the continuations, which is the same text, cut into tokens as the model was trained.
    """
    solved = [_PAPER_SOLVED.format(expression=each.expression, answer=each.answer) for each in SOLVED]
    prompt = "".join([*solved, TEMPLATES["question"].format(expression=one.expression)])
    digits = tuple("0123456789")
    right = digits.index(one.first_digit)
    if one.answer < 0:
        return FirstDigit(f"{prompt} -", digits, right)
    return FirstDigit(prompt, tuple(f" {digit}" for digit in digits), right)


def candidates(problems: Iterable[Problem]) -> tuple[int, ...]:
    """Every answer that occurs, ascending."""
    return tuple(sorted({one.answer for one in problems}))


def constant_floor(right: Sequence[Collection[object]]) -> float:
    """What the best constant answer scores: the share of items of which it is a right answer.

    Args:
        right: The right answers of every item; none where nothing that may be chosen is right.
    """
    counts = Counter(answer for own in right for answer in set(own))
    return max(counts.values(), default=0) / len(right)
