"""Sentences on the agreement of rankings: of the seeds of one, and of two rankings against what seeds share."""

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING, Ceiling, CeilingVerdict
from layersig.analysis.results import Interval
from layersig.analysis.sentences import status_of


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


def _interval(interval: Interval) -> str:
    return f"{100 * interval.level:.4g} % interval {interval.low:.2f} to {interval.high:.2f}"


def _corrected(tests: int) -> str:
    return "the only test of its family" if tests == 1 else f"corrected for {tests} tests"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"
