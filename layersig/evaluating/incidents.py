"""Notes what happens on the way to a score and does not show in it: prompts and answers cut, answers empty, ties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance

from layersig.evaluating.local import LocalTask
from layersig.generating.prompts import Completion
from layersig.incidents import Incidents

_Item = tuple[str, int]
"""Name of a part of a task, and number of the item."""
Samples = Iterable[Mapping[str, Any]]
"""What lm-eval logged of a part of a task."""


class Answer(NamedTuple):
    """How an answer ended.

    Attributes:
        tokens: Tokens written, with the one that ended it.
        ended: Whether an end token or a stop string ended it; else it was cut at the largest number of tokens.
        empty: Whether nothing is left of it but white space.
    """

    tokens: int
    ended: bool
    empty: bool


@dataclass
class IncidentLog:
    """What a model met with, by the item that a request belongs to.

    Attributes:
        cut: Items of which a prompt lost its beginning.
        answers: How the first answer to each item ended.
    """

    cut: set[_Item] = field(default_factory=set)
    answers: dict[_Item, Answer] = field(default_factory=dict)

    def prompt(self, request: Instance, *, cut: bool) -> None:
        """Note whether the beginning of a request's prompt was cut off."""
        if cut:
            self.cut.add(_item(request))

    def answer(self, request: Instance, text: str, written: Completion) -> None:
        """Note how the answer to a request ended."""
        self.answers.setdefault(_item(request), Answer(len(written.tokens), written.ended, not text.strip()))

    def clear(self) -> None:
        """Forget everything: other requests of the same items are to follow."""
        self.cut.clear()
        self.answers.clear()

    def endings(self, part: LocalTask, samples: Samples) -> list[dict[str, Any]]:
        """How every response of a part of a task ended: `finish` (`stop`, or `length`: it was cut) and `tokens`.

        It is empty where answers are not written, and holds empty objects for models that note nothing.
        """
        if part.OUTPUT_TYPE != "generate_until":
            return []
        numbers = sorted({int(sample["doc_id"]) for sample in samples})
        answers = (self.answers.get((str(part.config.task), number)) for number in numbers)
        return [
            {} if answer is None else {"finish": "stop" if answer.ended else "length", "tokens": answer.tokens}
            for answer in answers
        ]

    def incidents(self, part: LocalTask, samples: Samples) -> Incidents:
        """What the items of a part of a task met with."""
        name = str(part.config.task)
        prompts_cut = sum(task == name for task, _ in self.cut)
        if part.OUTPUT_TYPE == "generate_until":
            answers = [answer for (task, _), answer in self.answers.items() if task == name]
            cut, empty = sum(not answer.ended for answer in answers), sum(answer.empty for answer in answers)
            return Incidents(prompts_cut, answers_cut=cut, answers_empty=empty)
        if part.OUTPUT_TYPE == "multiple_choice":
            by_item = {int(sample["doc_id"]): sample for sample in samples}
            return Incidents(prompts_cut, ties=sum(map(_tied, by_item.values())))
        return Incidents(prompts_cut)


def _item(request: Instance) -> _Item:
    return str(request.task_name), int(request.doc_id or 0)


def _tied(sample: Mapping[str, Any]) -> bool:
    """Whether the likeliest choice has an equal; exactly, as argmax compares."""
    likelihoods = [response[0][0] for response in sample["resps"]]
    # Mutual information asks every choice once more without the question.
    asked = [each for each, (context, *_) in zip(likelihoods, sample["arguments"], strict=True) if context]
    values = asked or likelihoods
    return values.count(max(values)) > 1
