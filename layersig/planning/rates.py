"""What passes take on a machine: seconds of a token, by kind of pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layersig.planning.passes import Passes


@dataclass(frozen=True, slots=True)
class Speed:
    """What passes take on a machine.

    Attributes:
        model: Which model was measured.
        device: On what.
        measured: When, as an ISO date.
        products: Multiplications of a token in that model.
        by_kind: Seconds of a token, by kind of pass.
        stage: Seconds of a stage before and after its passes: the model is lent, checked and given back.
        start: Seconds from the start of the program to its first stage; None where it had run before.
        memory: Peak of the trainings measured, in bytes.
        batch: Tokens of a step among them.
        warm_up: Seconds that the first training of a process takes beyond its tokens: kernels are compiled for the
            shapes that it meets, and memory is mapped.
        how: What the plan says of it.
    """

    model: str
    device: str
    measured: str
    products: float
    by_kind: Mapping[str, float]
    stage: float
    start: float | None
    memory: float
    batch: float
    warm_up: float = 0.0
    how: str = ""

    def seconds(self, passes: Passes) -> float:
        """What passes take, with the stage around them."""
        if not passes.by_kind:
            return 0.0
        return self.stage + sum(self.by_kind.get(kind, 0.0) * count for kind, count in passes.by_kind.items())
