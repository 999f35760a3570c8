"""What happened to prompts and answers on the way to the scores of a task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NotRequired

from layersig.jsonform import Open


class IncidentsForm(Open):
    """What happened to prompts and answers of a task, in numbers of items."""

    prompts_cut: NotRequired[int]
    answers_cut: NotRequired[int]
    answers_empty: NotRequired[int]
    ties: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Incidents:
    """What happened on the way to the scores of a task, in numbers of items; None where its answers cannot meet it.

    Attributes:
        prompts_cut: A prompt lost its beginning, because the model's context is too short for it; or, in a chat, there
            was no room for an answer.
        answers_cut: The answer was cut at its largest number of tokens, or at the end of the context.
        answers_empty: Nothing but white space was answered.
        ties: Several choices have the highest log-likelihood, exactly; the first of them is taken, as in lm-eval.
    """

    prompts_cut: int = 0
    answers_cut: int | None = None
    answers_empty: int | None = None
    ties: int | None = None

    def __add__(self, other: Incidents) -> Incidents:
        """The sums."""
        return Incidents(
            self.prompts_cut + other.prompts_cut,
            _sum(self.answers_cut, other.answers_cut),
            _sum(self.answers_empty, other.answers_empty),
            _sum(self.ties, other.ties),
        )

    def many(self, items: int) -> Iterator[str]:
        """A sentence without its end for each kind that more than `INCIDENT_SHARE` of the items met."""
        for name, value in asdict(self).items():
            if value is not None and value > INCIDENT_SHARE * items:
                yield f"{value} of {items} {_INCIDENTS[name]}"

    def to_json(self) -> dict[str, int]:
        """A JSON object that `from_json` reads back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: IncidentsForm) -> Incidents:
        """The record that `to_json` wrote."""
        return cls(value.get("prompts_cut", 0), value.get("answers_cut"), value.get("answers_empty"), value.get("ties"))


INCIDENT_SHARE = 0.05
"""Beyond this share of its items, an incident is worth a warning (ours)."""
_INCIDENTS = {
    "prompts_cut": "prompts do not fit into the model's context and lost their beginning",
    "answers_cut": "answers were cut before they ended",
    "answers_empty": "answers are empty",
    "ties": "items have several likeliest choices, of which the first was taken",
}


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
