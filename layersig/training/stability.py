"""When a training has become epsilon-stable.

Definition (arXiv 2410.17875): training is epsilon-stable at T if |E L(theta_{t+1}) - E L(theta_t)| < epsilon for every
t > T. Losses of single batches are far too noisy for that. Deviation: two means over neighbouring windows of steps are
compared, relative to the earlier one, and the change must stay small for a whole window. The paper gives no epsilon;
both numbers are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-3
WINDOW = 50


@dataclass(frozen=True, slots=True)
class Stability:
    """Where a training stands with regard to epsilon-stability.

    Attributes:
        epsilon: Largest relative change of the smoothed loss that counts as none.
        window: Steps of a mean, and steps that the change must stay small.
        step: The step T from which on it is stable, to the last one; None when it is not, or too short to tell.
        change: Relative change of the smoothed loss at the last step; None when too short to tell, or the loss is 0.
        noise: Standard error of `change` from the scatter of batch losses. Where it exceeds epsilon, the run cannot
            tell stable from unstable.
    """

    epsilon: float
    window: int
    step: int | None
    change: float | None
    noise: float | None


def stability(losses: Sequence[float], *, epsilon: float = EPSILON, window: int = WINDOW) -> Stability:
    """Evaluate epsilon-stability on the batch losses of all steps."""
    values = np.asarray(losses, np.float64)
    if len(values) < 2 * window:
        return Stability(epsilon, window, None, None, None)
    smooth = np.convolve(values, np.full(window, 1 / window), "valid")
    with np.errstate(divide="ignore", invalid="ignore"):  # a preference that is learnt perfectly has a loss of 0
        changes = smooth[window:] / smooth[:-window] - 1
    calm = np.abs(changes) < epsilon
    restless = np.flatnonzero(~calm)
    quiet = len(calm) - 1 - restless[-1] if len(restless) else len(calm)
    last = values[-2 * window :].reshape(2, window)
    step = len(values) - int(quiet) + 1 if quiet >= window else None
    if not smooth[-1 - window]:
        return Stability(epsilon, window, step, None, None)
    noise = float(np.sqrt(last.var(1, ddof=1).sum() / window) / smooth[-1 - window])
    return Stability(epsilon, window, step, float(changes[-1]), noise)
