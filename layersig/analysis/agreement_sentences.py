"""Sentences on the agreement of rankings: of the seeds of one, and of two rankings against what seeds share."""

from dataclasses import dataclass
from enum import StrEnum
from math import isnan

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING, Ceiling, CeilingVerdict
from layersig.analysis.claim import named_data_sets
from layersig.analysis.results import Interval
from layersig.analysis.sentences import status_of
from layersig.analysis.sharing import SharingTest, SharingVerdict


class Across(StrEnum):
    """What the rankings of a sharing test differ in."""

    DATA_SETS = "data sets"
    HALVES = "halves"
    SCORERS = "scorers"


class Standard(StrEnum):
    """What agreement between rankings is held against: the noise ceiling."""

    SEEDS = "seeds of one data set"
    HALVES = "halves of one data set"


def ceiling_sentence(
    verdict: CeilingVerdict,
    found: Ceiling,
    ranking: str,
    k: int,
    n: int,
    *,
    level: float,
    adjusted_p: float | None,
    tests: int,
) -> str:
    """What the seeds of one ranking show, with the figures that it follows from.

    Args:
        verdict: The conclusion.
        found: What it was drawn from.
        ranking: Name of the ranking, with its data set.
        k: Size of the selections.
        n: Number of layers.
        level: Coverage of the interval.
        adjusted_p: P-value adjusted over the family; None without a test.
        tests: Tests in the family.
    """
    where = f"top {k} of {n}, S = {found.seeds}"
    match verdict:
        case CeilingVerdict.NO_SEED:
            said = f"{ranking} depends on no seed, so its noise over trainings is not defined (top {k} of {n})."
        case CeilingVerdict.ALIKE:
            said = f"all seeds of {ranking} rank the layers alike ({where})."
        case CeilingVerdict.TOO_FEW_SEEDS:
            seen = "" if found.estimate is None else f"kappa of the two is {found.estimate.value:.2f}, and "
            said = (
                f"whether another seed would rank the layers like {ranking} is not known: {seen}a test takes "
                f"{MIN_SEEDS_FOR_CEILING} seeds or more ({where})."
            )
        case CeilingVerdict.ABOVE_CHANCE | CeilingVerdict.NOT_SHOWN:
            assert found.estimate is not None
            assert adjusted_p is not None
            agree = "agree" if verdict is CeilingVerdict.ABOVE_CHANCE else "are not shown to agree"
            figures = f"kappa {found.estimate.value:.2f}, {_interval(found.estimate.interval(level))}"
            tested = f"one-sided {_p(adjusted_p)}, {_corrected(tests)}"
            said = f"the seeds of {ranking} {agree} above chance: {figures}, {tested} ({where})."
    return f"{status_of(False)}: {said}"


def sharing_sentence(
    test: SharingTest,
    k: int,
    n: int,
    cells: tuple[str, ...],
    model: str,
    ranking: str,
    *,
    across: Across = Across.DATA_SETS,
    ceiling: Standard = Standard.SEEDS,
    adjusted_p: float | None = None,
    tests: int = 1,
    declared: bool = False,
) -> str:
    """The sentence of a sharing test; "share layers" appears in it only when the test established it.

    Args:
        test: Outcome of the sharing test.
        k: Size of the selections.
        n: Number of layers.
        cells: Names of the data sets, halves or scorers.
        model: Name of the model.
        ranking: Name of the scorer; of halves and scorers, with the data set.
        across: What the cells are.
        ceiling: What their agreement is held against.
        adjusted_p: P-value of sharing, adjusted over the family; None without a test.
        tests: Tests in the family.
        declared: Whether the test was declared before anything was scored.
    """
    which = _cells(across, cells)
    bound = test.bound
    runs = f"{test.fewest_seeds} seeds each, {model}, {ranking}, top {k} of {n}"
    least = "no lower bound" if isnan(bound.lower) else f"lower bound {bound.lower:.2f}"
    figures = (
        f"agreement between them is {bound.ratio:.2f} of the agreement between {ceiling}, one-sided "
        f"{100 * bound.level:.3g} % {least}, margin {test.margin:.2f}"
    )
    tested = "" if adjusted_p is None else f", {_p(adjusted_p)} for sharing, {_corrected(tests)}"
    match test.verdict:
        case SharingVerdict.SHARED:
            said = f"{which} the rankings share layers as far as {ceiling} do: {figures}{tested}, {runs}."
        case SharingVerdict.NOT_SHOWN:
            said = f"{which} sharing is not shown, which is not a proof of difference: {figures}{tested}, {runs}."
        case SharingVerdict.TOO_FEW_SEEDS:
            said = f"{which} no sharing verdict is given with fewer than five seeds: {figures}, {runs}."
        case SharingVerdict.NO_CEILING:
            said = (
                f"{which} no sharing verdict is given: the rankings of two {ceiling} are not shown to agree above "
                f"chance, so there is no noise ceiling to compare with ({runs})."
            )
        case SharingVerdict.EQUAL:
            said = f"{which} the rankings select the same layers with every seed ({runs})."
        case SharingVerdict.NO_NOISE:
            said = (
                f"{which} no sharing verdict is given: the {ceiling} rank layers alike, so there is no noise to "
                f"compare with ({runs})."
            )
    return f"{status_of(declared)}: {said}"


class OverlapVerdict(StrEnum):
    """What a permutation of layers shows of an overlap."""

    ABOVE = "above chance, as this test has it"
    BELOW = "below chance, as this test has it"
    NOT_SHOWN = "not shown to differ from chance"


@dataclass(frozen=True, slots=True)
class OverlapTest:
    """A permutation test of the overlap of two rankings.

    Attributes:
        jaccard: Jaccard index of the two sets.
        chance: Its expectation for sets drawn uniformly.
        adjusted_p: Two-sided p-value, adjusted over the family.
        tests: Tests in the family.
        alpha: Level of the family.
    """

    jaccard: float
    chance: float
    adjusted_p: float
    tests: int
    alpha: float

    @property
    def verdict(self) -> OverlapVerdict:
        """The conclusion, as far as the assumption of the test holds."""
        if self.adjusted_p > self.alpha:
            return OverlapVerdict.NOT_SHOWN
        return OverlapVerdict.ABOVE if self.jaccard > self.chance else OverlapVerdict.BELOW


def overlap_test_sentence(
    found: OverlapTest, names: tuple[str, str], k: int, n: int, test: str, assumes: str, ratio: float | None
) -> str:
    """The sentence of a permutation test of an overlap, with what it assumes.

    Args:
        found: Outcome of the test.
        names: The two rankings.
        k: Size of the selections.
        n: Number of layers.
        test: Name of the test.
        assumes: What it takes for granted.
        ratio: Agreement of the two rankings over that of two seeds of one; None where it is unknown.
    """
    verb = {
        OverlapVerdict.ABOVE: "is above chance",
        OverlapVerdict.BELOW: "is below chance",
        OverlapVerdict.NOT_SHOWN: "is not shown to differ from chance",
    }[found.verdict]
    ceiling = "the noise ceiling is unknown" if ratio is None else f"{ratio:.2f} of the agreement between seeds"
    return (
        f"{status_of(False)}: the overlap of {names[0]} and {names[1]} {verb} by the {test}, which assumes that "
        f"{assumes}: Jaccard {found.jaccard:.2f}, by chance {found.chance:.2f}, {_p(found.adjusted_p)}, "
        f"{_corrected(found.tests)}, {ceiling} (top {k} of {n}). Descriptive: for the layers of one model the "
        "assumption does not hold, and the test rejects too often."
    )


def top_set_sentence(ranking: str, k: int, n: int, inside: int, outside: int, seeds: int, level: float) -> str:
    """What the rank sets of single layers say of the top k.

    Args:
        ranking: Name of the ranking.
        k: Size of the selection.
        n: Number of layers.
        inside: Layers that are shown to be among the top k.
        outside: Layers that are shown not to be.
        seeds: Seeds of the ranking.
        level: Confidence that no set is wrong.
    """
    return (
        f"{status_of(False)}: by {ranking}, {inside} of {n} layers are shown to be among the top {k} and {outside} "
        f"not to be; of {n - inside - outside} it is open (simultaneous {100 * level:.4g} % rank sets, S = {seeds})."
    )


def _cells(across: Across, names: tuple[str, ...]) -> str:
    match across:
        case Across.DATA_SETS:
            return f"on {named_data_sets(names)}"
        case Across.HALVES:
            return f"on the halves {' and '.join(names)} of one data set"
        case Across.SCORERS:
            return f"by {', '.join(names[:-1])} and {names[-1]}"


def _interval(interval: Interval) -> str:
    return f"{100 * interval.level:.4g} % interval {interval.low:.2f} to {interval.high:.2f}"


def _corrected(tests: int) -> str:
    return "the only test of its family" if tests == 1 else f"corrected for {tests} tests"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"
