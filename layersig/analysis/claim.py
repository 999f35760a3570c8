"""What a sentence has to name, and its words: data sets, runs, items, figures with their unit."""

from __future__ import annotations

from dataclasses import dataclass

from layersig.analysis.results import Interval
from layersig.analysis.verdicts import Evidence, Scope

MIN_DATA_SETS_TO_GENERALISE = 8
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a sentence has to name.

    Attributes:
        arm: The arm in question.
        reference: What it is compared with.
        scope: What it is about.
        data_sets: Names of the data sets; none of models that were not tuned on any of the study's.
        model: Name of the model.
        metric: Name of the metric, with its task.
        seeds: Training runs per arm, S; of one of them only where the other is a single run.
        items: Evaluation items, n.
        unit: Unit shown, for instance "points".
        scale: Factor from the metric to the unit, 100 for a share shown in points.
        higher_is_better: False for a loss.
        single_run: The side that is a single training run, where the scope is a method against a checkpoint.
    """

    arm: str
    reference: str
    scope: Scope
    data_sets: tuple[str, ...]
    model: str
    metric: str
    seeds: int
    items: int
    unit: str = "points"
    scale: float = 100.0
    higher_is_better: bool = True
    single_run: str | None = None

    @property
    def setting(self) -> str:
        """What the claim is about, on what, and from how many runs and items."""
        where = f" on {named_data_sets(self.data_sets)}" if self.data_sets else ""
        runs = f"S = {self.seeds} training run{'s' if self.seeds != 1 else ''} {self.repeated}"
        runs += f" and 1 of {self.single_run}" if self.single_run is not None else ""
        return f"{self._subject}{where} with {self.model} in {self.metric} ({runs}, n = {self.items} items)"

    @property
    def repeated(self) -> str:
        """Of what there are S training runs."""
        if self.single_run is None:
            return "per arm"
        return f"of {self.reference if self.single_run == self.arm else self.arm}"

    @property
    def _subject(self) -> str:
        if self.single_run == self.arm:
            return "as one checkpoint against a method"
        if self.single_run == self.reference:
            return "as a method against one checkpoint"
        return "as a method" if self.scope is Scope.METHOD else "as checkpoints"

    def figures(self, value: float, interval: Interval) -> str:
        """A difference and its interval, with the unit."""
        low, high = self.signed(interval.low), self.signed(interval.high)
        return f"difference {self.signed(value)} {self.unit}, {level_words(interval)} interval {low} to {high}"

    def signed(self, value: float) -> str:
        """A difference with its sign, without the unit."""
        return f"{self.scale * value:+.3g}"

    def amount(self, value: float) -> str:
        """A size with the unit."""
        return f"{self.scale * value:.3g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Favourable:
    """Evidence turned so that positive means better."""

    raw: Evidence
    claim: Claim

    @property
    def value(self) -> float:
        """The difference."""
        return self.raw.value if self.claim.higher_is_better else -self.raw.value

    def interval(self, level: float) -> Interval:
        """Its interval."""
        return turned_for(self.raw.interval(level), self.claim)


def turned_for(interval: Interval, claim: Claim) -> Interval:
    """From the metric's own direction to the favourable one, or back."""
    return interval if claim.higher_is_better else Interval(-interval.high, -interval.low, interval.level)


def named_data_sets(names: tuple[str, ...]) -> str:
    """Data sets as a sentence names them: by name, unless there are enough to stand for more."""
    count = len(names)
    if count == 0:
        raise ValueError("a verdict has to name its data sets")
    if count >= MIN_DATA_SETS_TO_GENERALISE:
        return f"{count} data sets"
    if count == 1:
        return f"the data set {names[0]}"
    return f"these {_WORDS[count]} data sets ({', '.join(names)})"


def level_words(interval: Interval) -> str:
    """The level of an interval in per cent."""
    return f"{100 * interval.level:.4g} %"
