"""What a training tells about itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import FiniteFloat
from typing_extensions import TypedDict


class StepForm(TypedDict):
    """What `Step.to_json` gives."""

    step: int
    loss: FiniteFloat
    lr: FiniteFloat
    gradient_norm: FiniteFloat
    tokens: int
    targets: int
    seconds: FiniteFloat


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    Attributes:
        step: Number, from 1.
        loss: Mean loss over the target tokens, or the pairs, of the optimizer batch, in nats, before the update.
        lr: Learning rate of the update.
        gradient_norm: 2-norm of the whole gradient before clipping.
        tokens: Real (not padding) tokens of the optimizer batch.
        targets: Target tokens among them.
        seconds: Wall time of the step.
    """

    step: int
    loss: float
    lr: float
    gradient_norm: float
    tokens: int
    targets: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object, one key a field."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainLog:
    """A whole training.

    Attributes:
        steps: Every optimizer step, those before an interruption included.
        peak_memory: Largest use during the training in bytes: resident memory on a CPU, torch's own on a GPU.
        numerics: Name of the arithmetic that was used, for the numerics key of a fingerprint.
    """

    steps: tuple[Step, ...]
    peak_memory: int
    numerics: str

    @property
    def tokens(self) -> int:
        """Real tokens that went through the model."""
        return sum(step.tokens for step in self.steps)

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(step.seconds for step in self.steps)
