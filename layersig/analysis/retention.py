"""Shares of a score that survive: retention, chance-corrected retention, share of the gain, gap between formats."""

from dataclasses import dataclass

import numpy as np

from layersig.analysis.fieller import RatioSet, fieller_set
from layersig.analysis.means import mean_items
from layersig.analysis.results import Estimate, FloatArray, Interval
from layersig.analysis.twoway import mean_squares, two_way_covariance, two_way_estimate

_CHUNK_CELLS = 20_000_000


@dataclass(frozen=True, slots=True)
class CorrectedRetention:
    """Retention above a measured floor.

    Attributes:
        room: Base minus floor.
        retention: (arm - floor) / (base - floor) with its set, or None when the base is at the floor.
    """

    room: Estimate
    retention: RatioSet | None

    @property
    def at_floor(self) -> bool:
        """Whether the base is too close to the floor for a ratio to mean anything."""
        return self.retention is None


def ratio_fieller_items(numerator: FloatArray, denominator: FloatArray, level: float = 0.95) -> RatioSet:
    """Ratio of two means over the same items with its Fieller set, scope ``checkpoints``.

    Retention of an arm is (arm, base); share of the gain kept is (arm - base, all - base). The ratio of averages, not
    the average of ratios.

    Args:
        numerator: Shape (n,).
        denominator: Same items.
        level: Coverage.
    """
    _check_pair(numerator, denominator, 1)
    covariance = np.cov(numerator, denominator) / numerator.size
    return fieller_set(float(numerator.mean()), float(denominator.mean()), covariance, numerator.size - 1, level)


def ratio_fieller_items_and_seeds(numerator: FloatArray, denominator: FloatArray, level: float = 0.95) -> RatioSet:
    """Ratio of two means over the same seeds x items with its Fieller set, scope ``method``.

    Args:
        numerator: Shape (seeds, items); an arm without seeds, such as the untouched base, is repeated over the seeds.
        denominator: Same shape.
        level: Coverage.

    Returns:
        The set with the conservative two-way covariance and Satterthwaite's degrees of freedom at the estimated ratio.
    """
    _check_pair(numerator, denominator, 2)
    covariance = two_way_covariance(numerator, denominator)
    bottom = float(denominator.mean())
    ratio = float(numerator.mean()) / bottom if bottom != 0 else 0.0
    df = two_way_estimate(mean_squares(numerator - ratio * denominator), conservative=True).df
    return fieller_set(float(numerator.mean()), bottom, covariance, df, level)


def ratio_bootstrap_items(
    numerator: FloatArray, denominator: FloatArray, rng: np.random.Generator, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval of a ratio of means, items drawn in pairs with replacement.

    Bounded by construction: draws whose denominator is 0 are left out. When the denominator may be 0 the Fieller set
    tells the truth and this interval does not.

    Args:
        numerator: Shape (n,).
        denominator: Same items.
        rng: Source of randomness.
        draws: Bootstrap samples.
        level: Coverage.
    """
    _check_pair(numerator, denominator, 1)
    n = numerator.size
    both = np.stack([numerator, denominator], axis=1)
    chunk = max(1, _CHUNK_CELLS // n)
    ratios = []
    for start in range(0, draws, chunk):
        sums = rng.multinomial(n, np.full(n, 1 / n), size=min(chunk, draws - start)) @ both
        there = sums[:, 1] != 0
        ratios.append(sums[there, 0] / sums[there, 1])
    low, high = np.quantile(np.concatenate(ratios), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def corrected_retention_items(
    arm: FloatArray, base: FloatArray, floor: FloatArray, least_room: float = 0.05, level: float = 0.95
) -> CorrectedRetention:
    """Retention above a floor that was measured on the same items.

    Args:
        arm: Outcomes of the pruned or tuned model, shape (n,).
        base: Outcomes of the reference.
        floor: Outcomes without the information that the task asks for (shuffled context, answer only).
        least_room: Smallest base - floor, in the unit of the outcomes.
        level: Coverage.

    Returns:
        The ratio only when base - floor exceeds both three standard errors and ``least_room``; else "at floor".
    """
    _check_pair(arm, base, 1)
    _check_pair(base, floor, 1)
    room = mean_items(base - floor)
    if room.value <= max(3 * room.se, least_room):
        return CorrectedRetention(room, None)
    return CorrectedRetention(room, ratio_fieller_items(arm - floor, base - floor, level))


def retention_gap_items(
    arm_choice: FloatArray, base_choice: FloatArray, arm_generation: FloatArray, base_generation: FloatArray
) -> Estimate:
    """Retention as a choice task minus retention as a generation task, the same items scored both ways.

    This contrast separates the answer format from the items; a gap between different tasks only describes those tasks.

    Args:
        arm_choice: Outcomes of the arm with answer choices, shape (n,).
        base_choice: Outcomes of the base with answer choices.
        arm_generation: Outcomes of the arm in free generation.
        base_generation: Outcomes of the base in free generation.

    Returns:
        Estimate with the delta-method standard error over items.

    Raises:
        ValueError: Shapes differ, or a base scores 0.
    """
    for other in (base_choice, arm_generation, base_generation):
        _check_pair(arm_choice, other, 1)
    if base_choice.mean() == 0 or base_generation.mean() == 0:
        raise ValueError("retention has no meaning where the base scores 0")
    choice, generation = arm_choice.mean() / base_choice.mean(), arm_generation.mean() / base_generation.mean()
    influence = (arm_choice - choice * base_choice) / base_choice.mean() - (
        arm_generation - generation * base_generation
    ) / base_generation.mean()
    return Estimate(float(choice - generation), mean_items(influence).se, arm_choice.size - 1)


def _check_pair(a: FloatArray, b: FloatArray, dimensions: int) -> None:
    if a.ndim != dimensions or a.shape != b.shape:
        raise ValueError(f"two arrays with {dimensions} axes and equal shape are needed, got {a.shape} and {b.shape}")
