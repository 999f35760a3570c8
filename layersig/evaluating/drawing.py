"""Several drawn answers to every request of a task, given to lm-eval one draw after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lm_eval.api.instance import Instance

from layersig.generating.prompts import Completion
from layersig.generating.sampling import Sampling

Value = TypeVar("Value")
Key = tuple[str, int, int]
"""Task, number of the item, and number of the request."""


@dataclass
class Drawing:
    """All draws of the answers to a task; they are written when the first is asked for.

    Attributes:
        count: Answers to every request.
        sampling: What they are drawn from.
        seed: The seed of an answer's stream, by key of its request and number of the draw.
        turn: Which draw is given to lm-eval.
    """

    count: int
    sampling: Sampling
    seed: Callable[[Key, int], int]
    turn: int = 0
    _answers: dict[Key, list[Completion]] = field(default_factory=dict)

    def each(self, values: Sequence[Value]) -> list[Value]:
        """Every value as many times as answers are drawn."""
        return [value for value in values for _ in range(self.count)]

    def seeds(self, requests: Sequence[Instance]) -> list[int]:
        """Seeds of the draws of every request, in the order of `each`."""
        return [self.seed(_key(request), draw) for request in requests for draw in range(self.count)]

    def keep(self, requests: Sequence[Instance], written: Sequence[Completion]) -> None:
        """Take what was written, in the order of `each`."""
        for number, request in enumerate(requests):
            self._answers[_key(request)] = list(written[number * self.count : (number + 1) * self.count])

    def given(self, requests: Sequence[Instance]) -> list[Completion]:
        """The answers whose turn it is."""
        return [self._answers[_key(request)][self.turn] for request in requests]


def _key(request: Instance) -> Key:
    return str(request.task_name), int(request.doc_id or 0), int(request.idx)
