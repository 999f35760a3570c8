"""Passes of tokens through a model, by what they cost.

A machine has a speed for each kind: `train` (forward and backward with an adapter on every layer), `plain` (forward and
backward with none), `read` (forward alone), `evaluate` (the same in the larger batches of an evaluation), `gate` (what
an adapter on every layer adds to a forward pass) and `write` (one token after another). A training of some layers lies
between `plain` and `train`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Passes:
    """What a stage asks of the model.

    Attributes:
        tokens: Real tokens that go through the model; None where they are not known.
        steps: Optimizer steps.
        by_kind: Token passes, by kind; a pass may count in part.
        at_most: Whether the model may end before the largest number of tokens that it may write.
        unknown: Why something is not counted; None where everything is.
    """

    tokens: float | None = 0.0
    steps: int = 0
    by_kind: Mapping[str, float] = field(default_factory=dict)
    at_most: bool = False
    unknown: str | None = None


def uncounted(why: str, steps: int = 0) -> Passes:
    """Passes whose number is not known."""
    return Passes(None, steps, unknown=why)
