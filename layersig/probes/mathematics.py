"""Whether a worked answer ends in the right result: where it stands in a text, its normal form, and equality.

Two results are equal when their normal forms are equal, or both are numbers of equal value, or both are lists in the
same brackets whose parts are equal one by one. The normal form follows the rules of the MATH data set's checker
(Hendrycks et al. 2021) and of Lewkowycz et al. 2022, appendix D; nothing is simplified symbolically, so `2x+2` and
`2(x+1)` differ.
"""

from __future__ import annotations

import re
from fractions import Fraction

_AFTER = re.compile(
    r"(?:####|\banswer[*_]*\s*(?:is\b|:|=)|^[#*_\s]*(?:final\s+)?answer[*_\s]*$)[\s:*_]*(?P<answer>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"[-+]?\$?\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?|[-+]?\.\d+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_SPACING = re.compile(r"\\[,;:! ]|~|\\q?quad|\\displaystyle|\\left(?![a-z])|\\right(?![a-z])|\\big[lr]?(?![a-z])")
_STYLE = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\d}])\s*\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?\s*$")
_SHORT_FRACTION = re.compile(r"\\frac\s*([^{\s\\])\s*([^{\s\\])")
_SHORT_ROOT = re.compile(r"\\sqrt\s*([^{\[\s\\])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LONE_LEFT_SIDE = re.compile(r"^[A-Za-z](?:\([A-Za-z]\))?=(?=.)")
_PLAIN = re.compile(r"^([-+]?)(\d*\.?\d+|\d+\.)(?:/(\d+))?$")
_FRACTION = re.compile(r"^([-+]?)\\frac\{([-+]?\d+)\}\{([-+]?\d+)\}$")
_BRACKETS = {"(": ")", "[": "]", "\\{": "\\}"}


def final_answer(text: str) -> str | None:
    r"""The result that a worked answer gives.

    The content of the last whole `\boxed{}`; else what follows the last `####`, "answer is", "answer:" or a heading
    "Answer", up to the end of the line, and of words with a number among them the first number; else the last number
    of the text; None without any.
    """
    if (boxed := _last_boxed(text)) is not None:
        return boxed
    statements = list(_AFTER.finditer(text))
    if statements:
        answer = statements[-1]["answer"].strip().strip("*").rstrip(".")
        if in_dollars := re.search(r"\$([^$]+)\$", answer):
            return in_dollars[1]
        number = _NUMBER.search(answer) if _WORD.search(answer) and "\\" not in answer else None
        return number[0] if number else answer
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def _last_boxed(text: str) -> str | None:
    for start in reversed([found.end() for found in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]):
        depth = 1
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0) if text[place - 1] != "\\" else 0
            if depth == 0:
                return text[start:place]
    return None


def normalised(answer: str) -> str:
    r"""The normal form of a result.

    In this order: dollar signs, `\(`, `\[` and spacing commands go; `\dfrac` and `\tfrac` become `\frac`; a unit in
    `\text{}` behind a number goes, other text commands leave their content; percent and degree signs go; `\frac12`
    and `\sqrt2` get their braces; commas between thousands, white space, a full stop at the end and a single letter
    before `=` go.
    """
    text = answer.strip()
    for left, right in ((r"\(", r"\)"), (r"\[", r"\]")):
        text = text.replace(left, "").replace(right, "")
    text = text.replace("\\$", "").replace("$", "")
    text = _SPACING.sub(
        " ", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
    )
    text = _STYLE.sub(r"\1", _UNIT.sub("", text))
    for sign in ("\\%", "%", "^{\\circ}", "^\\circ", "\\degree", "\u00b0"):
        text = text.replace(sign, "")
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text))
    text = re.sub(r"\s+", "", _THOUSANDS.sub("", text)).rstrip(".")
    return _LONE_LEFT_SIDE.sub("", text)


def equal(one: str, other: str) -> bool:
    """Whether two results are equal."""
    return _equal(normalised(one), normalised(other))


def _equal(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = _value(one), _value(other)
    if first is not None and second is not None:
        return first == second
    parts, others = _parts(one), _parts(other)
    return (
        parts is not None
        and others is not None
        and (parts[0], len(parts)) == (others[0], len(others))
        and all(map(_equal, parts, others))
    )


def _value(text: str) -> Fraction | None:
    if (found := _PLAIN.match(text)) is not None:
        sign, number, below = found.groups()
        if below is not None and int(below) == 0:
            return None
        return (-1 if sign == "-" else 1) * Fraction(number.rstrip(".")) / int(below or 1)
    if (found := _FRACTION.match(text)) is not None and int(found[3]) != 0:
        return (-1 if found[1] == "-" else 1) * Fraction(int(found[2]), int(found[3]))
    return None


def _parts(text: str) -> list[str] | None:
    """The brackets and the parts of a list in brackets; None for anything else."""
    for left, right in _BRACKETS.items():
        if text.startswith(left) and text.endswith(right) and len(text) > len(left + right):
            inner = text[len(left) : -len(right)]
            parts, depth, start = [], 0, 0
            for place, sign in enumerate(inner):
                depth += (sign in "([{") - (sign in ")]}")
                if sign == "," and depth == 0:
                    parts.append(inner[start:place])
                    start = place + 1
            return [left, *parts, inner[start:]] if parts else None
    return None
