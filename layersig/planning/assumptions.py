"""What a user states about a study (`--assume NAME=VALUE`), and the values that are assumed where nothing is stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite

from layersig.errors import UserError
from layersig.recipe.schema import Recipe

SPREADS: Mapping[str, float] = {
    "loss.seed": 0.005,
    "loss.item": 0.03,
    "loss.residual": 0.03,
    "share.seed": 0.005,
    "share.item": 0.15,
    "share.residual": 0.27,
    "score.seed": 0.1,
    "score.item": 0.6,
    "score.residual": 1.2,
}
"""Standard deviations of the paired difference of two arms, by kind of outcome and by what varies: training runs
(`seed`), items in the same way in every run (`item`), items in each run anew (`residual`). Ours: for losses in nats,
as seen on the small recipes; for shares of right answers what makes one item in ten differ; for grades, in grade
points, two grades apart on every fourth turn. A pilot replaces them."""


@dataclass(frozen=True)
class Assumptions:
    """Numbers that the user stated, and the defaults of the others.

    Attributes:
        rows: Rows of a data set by name.
        items: Items of a task by name.
        step_seconds: Seconds of an optimizer step of the reference training.
        gain: Gain of all layers over the untouched model, in the unit of the outcome.
        spreads: `SPREADS`, with what was stated over it.
        stated: Names that were stated.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    items: Mapping[str, int] = field(default_factory=dict)
    step_seconds: float | None = None
    gain: float | None = None
    spreads: Mapping[str, float] = field(default_factory=lambda: dict(SPREADS))
    stated: frozenset[str] = frozenset()


def assumptions(given: Sequence[str], recipe: Recipe) -> Assumptions:
    """Read `NAME=VALUE` entries.

    Args:
        given: As the user typed them.
        recipe: Names its data sets, tasks and sets of questions.

    Raises:
        UserError: A name is unknown, or a value is no positive number.
    """
    data = [each.name for each in recipe.data]
    tasks = [*(each.source for each in recipe.evaluate.tasks), *(each.label for each in recipe.evaluate.conversations)]
    names = [*(f"rows.{each}" for each in data), *(f"items.{each}" for each in tasks), "step.seconds", "gain", *SPREADS]
    values: dict[str, float] = {}
    for entry in given:
        name, _, text = entry.partition("=")
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            raise UserError(f"--assume {entry}: unknown name {name!r}; {hint}")
        values[name] = _number(entry, text, whole=name.startswith(("rows.", "items.")))
    return Assumptions(
        rows={name.removeprefix("rows."): int(value) for name, value in values.items() if name.startswith("rows.")},
        items={name.removeprefix("items."): int(value) for name, value in values.items() if name.startswith("items.")},
        step_seconds=values.get("step.seconds"),
        gain=values.get("gain"),
        spreads={name: values.get(name, default) for name, default in SPREADS.items()},
        stated=frozenset(values),
    )


def _number(entry: str, text: str, *, whole: bool) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0 or (whole and (value != int(value) or value < 1)):
        wanted = "a whole number from 1" if whole else "a number from 0"
        raise UserError(f"--assume {entry}: {text!r} is not {wanted}")
    return value
