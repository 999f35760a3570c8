"""What happened on the way to a score that the score does not show: prompts and answers cut, answers empty, ties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance

from layersig.evaluating.local import LocalTask
from layersig.generating.generation import Written

COUNTS = {
    "prompts_cut": "prompts lost their beginning, because the model's context is too short for them",
    "answers_cut": "answers were cut at their largest number of tokens before they ended",
    "answers_empty": "answers are empty",
    "ties": "items have several choices of equal log-likelihood, of which the first was taken, as in lm-eval",
}
"""What is counted, by its name in `results.json`, and what a warning says of it."""
WARNING_SHARE = 0.05
"""Beyond this share of the items of a task, a run warns."""

_Item = tuple[str, int]


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
class Incidents:
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

    def answer(self, request: Instance, text: str, written: Written) -> None:
        """Note how the answer to a request ended."""
        self.answers.setdefault(_item(request), Answer(len(written.tokens), written.ended, not text.strip()))

    def clear(self) -> None:
        """Forget everything: other requests of the same items are to follow."""
        self.cut.clear()
        self.answers.clear()

    def endings(self, part: LocalTask, samples: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """How every response of a part of a task ended: `finish` (`stop`, or `length`: it was cut) and `tokens`.

        Args:
            part: The part; empty where its answers are not written.
            samples: What lm-eval logged of it.
        """
        if part.OUTPUT_TYPE != "generate_until":
            return []
        name = str(part.config.task)
        answers = (self.answers.get((name, number)) for number in sorted({int(each["doc_id"]) for each in samples}))
        return [
            {} if answer is None else {"finish": "stop" if answer.ended else "length", "tokens": answer.tokens}
            for answer in answers
        ]

    def counts(self, part: LocalTask, samples: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Items of a part of a task to which each of `COUNTS` happened; only what its kind of answer can meet."""
        name = str(part.config.task)
        found = {"prompts_cut": sum(task == name for task, _ in self.cut)}
        if part.OUTPUT_TYPE == "generate_until":
            answers = [answer for (task, _), answer in self.answers.items() if task == name]
            found["answers_cut"] = sum(not answer.ended for answer in answers)
            found["answers_empty"] = sum(answer.empty for answer in answers)
        if part.OUTPUT_TYPE == "multiple_choice":
            found["ties"] = sum(map(_tied, {int(sample["doc_id"]): sample for sample in samples}.values()))
        return found


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The sums of two sets of counts."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def warnings(task: str, counts: Mapping[str, int], n: int) -> Iterable[str]:
    """What a run should say of a task, where more than `WARNING_SHARE` of its items are concerned."""
    return (f"{task}: {count} of {n} {COUNTS[name]}" for name, count in counts.items() if count > WARNING_SHARE * n)


def _item(request: Instance) -> _Item:
    return str(request.task_name), int(request.doc_id or 0)


def _tied(sample: Mapping[str, Any]) -> bool:
    """Whether the likeliest choice has an equal; exactly, as argmax compares."""
    likelihoods = [response[0][0] for response in sample["resps"]]
    # Mutual information asks every choice once more without the question.
    asked = [each for each, (context, *_) in zip(likelihoods, sample["arguments"], strict=True) if context]
    values = asked or likelihoods
    return values.count(max(values)) > 1
