"""What a field of a made-up row may hold. A shape takes the field's name and the number of the row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Shape = Callable[[str, int], Any]
Fields = Mapping[str, "str | Shape"]

_FOUR = ("one", "two", "three", "four")


def _options(field: str, n: int) -> list[str]:
    return [f"{field} {n} {each}" for each in _FOUR]


SHAPES: Mapping[str, Shape] = {
    "text": lambda field, n: f"{field} {n}",
    "label": lambda field, n: n % 2,
    "from_one": lambda field, n: 1 + n % 2,
    "letter": lambda field, n: "AB"[n % 2],
    "digit": lambda field, n: str(n % 2),
    "digit_from_one": lambda field, n: str(1 + n % 2),
    "number": lambda field, n: n + 0.5,
    "number_text": lambda field, n: str(n + 3),
    "flag": lambda field, n: n % 2 == 0,
    "yes": lambda field, n: ("yes", "no")[n % 2],
    "Yes": lambda field, n: ("Yes", "No")[n % 2],
    "true": lambda field, n: ("true", "false")[n % 2],
    "options": _options,
    "single": lambda field, n: [f"{field} {n}"],
    "labels": lambda field, n: [n % 2],
    "one_hot": lambda field, n: [1, 0, 0, 0] if n % 2 == 0 else [0, 1, 0, 0],
    "option_texts": lambda field, n: {"text": _options(field, n), "label": list("ABCD")},
    "option_list": lambda field, n: [
        {"text": text, "label": label, "answer": text, "value": text}
        for text, label in zip(_options(field, n), "ABCD", strict=True)
    ],
    "lists": lambda field, n: [_options(field, n), _options(field, n + 1)],
    "options_repr": lambda field, n: str(_options(field, n)),
    "options_json": lambda field, n: json.dumps(_options(field, n)),
    "hashes": lambda field, n: f"It is {n}+1.\n#### {n + 1}",
    "boxed": lambda field, n: f"So \\boxed{{{n + 1}}}",
}


def rows(fields: Fields, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows of the shapes that a task reads.

    Args:
        fields: A shape for every field, by name or as a function.
        count: Rows.
        first: Number of the first row; other numbers give other texts.
    """
    return [
        {name: (SHAPES[shape] if isinstance(shape, str) else shape)(name, n) for name, shape in fields.items()}
        for n in range(first, first + count)
    ]
