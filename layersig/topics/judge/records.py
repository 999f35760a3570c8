"""The judge's records of a run, ready to be summed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.results import Estimate
from layersig.analysis.tables import mean_of
from layersig.findings.files import CONVERSATIONS, JUDGEMENTS, PAIRS, RunFiles
from layersig.findings.outcomes import Items, clusters_of
from layersig.judging.records import AnswerRecord, Judgement, read_answers, read_judgements
from layersig.records import Cell

FloatArray = NDArray[np.float64]
By = Literal["all", "category", "turn"]
Turn = tuple[str, int]
"""The id of a question, and the number of its turn from 1."""


class Group(NamedTuple):
    """Turns that are summed up together: `by` says what they share, `mask` which they are."""

    by: By
    name: str
    mask: NDArray[np.bool_]


class Pair(NamedTuple):
    """The two verdicts on one pair of answers, from the arm's side: 1 it wins, 0.5 a tie, 0 it loses.

    Attributes:
        leading: When the arm was shown first.
        following: When it was shown second.
    """

    leading: float
    following: float

    @property
    def flips(self) -> bool:
        """Whether the winner changes with the order."""
        return {self.leading, self.following} == {0.0, 1.0}


_POINTS: Mapping[Any, Pair] = {"first": Pair(1.0, 0.0), "second": Pair(0.0, 1.0), "tie": Pair(0.5, 0.5)}
"""What the arm gets for a verdict: when it was shown first, and when it was shown second."""


@dataclass(frozen=True)
class JudgeRecords:
    """What arms answered and what the judge said.

    Attributes:
        files: The run.
    """

    files: RunFiles

    @cached_property
    def grades(self) -> Mapping[Cell, Sequence[Judgement]]:
        """Every judgement of a single answer."""
        found = self.files.by_cell(JUDGEMENTS, "judgements.jsonl")
        return {cell: tuple(read_judgements(path)) for cell, path in found.items()}

    @cached_property
    def pairs(self) -> Mapping[Cell, Mapping[str, Mapping[Turn, Sequence[Pair]]]]:
        """By cell, set and turn, an entry a repeat that has a verdict in both orders."""
        found: dict[Cell, dict[str, dict[Turn, list[Pair]]]] = {}
        for cell, path in self.files.by_cell(PAIRS, "judgements.jsonl").items():
            sets = found.setdefault(cell, {})
            for key, both in groupby(read_judgements(path), lambda each: each.key._replace(order="alone")):
                own = sets.setdefault(key.set, {}).setdefault((key.question, key.turn), [])
                verdicts = {each.key.order: each.verdict for each in both}
                if None not in verdicts.values():
                    leading, following = (_POINTS[verdicts[order]] for order in ("arm-first", "arm-second"))
                    own.append(Pair(leading.leading, following.following))
        return found

    @cached_property
    def ends(self) -> Mapping[Cell, Mapping[str, Mapping[Turn, str]]]:
        """How every answer ended, by cell, set and turn."""
        return {
            cell: {name: _ends(each for each in answers if each.set == name) for name in {a.set for a in answers}}
            for cell, answers in self._answers.items()
        }

    def turn(self, name: str, item: str) -> Turn:
        """The turn that an item of a set means."""
        return self._turns[name][item]

    def groups(self, name: str, turns: Sequence[Turn]) -> Iterator[Group]:
        """All turns of a set, and those of each category and number where there are several."""
        yield Group("all", "all", np.ones(len(turns), np.bool_))
        kinds: tuple[tuple[By, list[str]], ...] = (
            ("category", [self._categories[name, question] for question, _ in turns]),
            ("turn", [str(number) for _, number in turns]),
        )
        for by, labels in kinds:
            names = list(dict.fromkeys(labels))
            if len(names) > 1:
                yield from (Group(by, each, np.array([label == each for label in labels])) for each in names)

    @cached_property
    def _answers(self) -> Mapping[Cell, Sequence[AnswerRecord]]:
        found = self.files.by_cell(CONVERSATIONS, "answers.jsonl")
        return {cell: tuple(read_answers(path)) for cell, path in found.items()}

    @cached_property
    def _categories(self) -> Mapping[tuple[str, str], str]:
        return {(each.set, each.question): each.category for answers in self._answers.values() for each in answers}

    @cached_property
    def _turns(self) -> Mapping[str, Mapping[str, Turn]]:
        found: dict[str, dict[str, Turn]] = {}
        for answers in self._answers.values():
            for each in answers:
                for turn in range(1, len(each.turns) + 1):
                    found.setdefault(each.set, {})[each.item(turn)] = (each.question, turn)
        return found


def mean_of_turns(values: FloatArray, turns: Sequence[Turn]) -> Estimate | None:
    """Mean over seeds and turns, see `units_of_turns`."""
    return mean_of(units_of_turns(values, turns))


def units_of_turns(values: FloatArray, turns: Sequence[Turn]) -> FloatArray:
    """Unit values, shape (seeds, questions): the turns of a question are one unit.

    Args:
        values: Shape (seeds, turns).
        turns: Which they are.
    """
    items = Items(tuple(map(str, turns)), np.ones(len(turns)), clusters_of([question for question, _ in turns]))
    return np.stack([items.unit_values(row) for row in values])


def _ends(answers: Iterator[AnswerRecord]) -> dict[Turn, str]:
    return {(each.question, turn): end for each in answers for turn, end in enumerate(each.finish, start=1)}
