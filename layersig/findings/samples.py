"""Which entries of `[[data]]` are halves of one data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layersig.recipe.schema import DataSettings, Recipe


@dataclass(frozen=True, slots=True)
class Sample:
    """What an entry of `[[data]]` is a sample of.

    Attributes:
        data_set: Name of the data set: that of the entry, or both names where two entries are its halves.
        half: Which half of it; None for all of it.
    """

    data_set: str
    half: int | None = None


def samples(recipe: Recipe) -> Mapping[str, Sample]:
    """The sample that every entry of `[[data]]` is, by its name.

    Two entries are halves of one data set where they differ in nothing but their name and `half`. A half without the
    other is a data set of its own.
    """
    found = {data.name: Sample(data.name) for data in recipe.data}
    for first in recipe.data:
        for second in recipe.data:
            if (first.half, second.half) == (0, 1) and _rows(first) == _rows(second):
                name = f"{first.name} + {second.name}"
                found |= {first.name: Sample(name, 0), second.name: Sample(name, 1)}
    return found


def sample_of(data: str, sampled: Mapping[str, Sample]) -> Sample:
    """What a data set is a sample of, by the label that records give it: its name, and `>` with a fallback."""
    return sampled.get(data.partition(">")[0], Sample(data))


def are_halves(a: str | None, b: str | None, sampled: Mapping[str, Sample]) -> bool:
    """Whether two entries of `[[data]]` are different halves of one data set."""
    if a is None or b is None or a == b:
        return False
    one, other = sample_of(a, sampled), sample_of(b, sampled)
    return one.data_set == other.data_set and one.half != other.half


def _rows(data: DataSettings) -> DataSettings:
    """Everything that decides on the rows but the half."""
    return data.model_copy(update={"name": "", "half": None})
