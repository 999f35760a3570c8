"""What the stages and the loop ask of a tuning method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from layersig.training.callbacks import Callback
from layersig.training.log import Step


class Base(NamedTuple):
    """How an adapter names the model that it belongs to.

    Attributes:
        name: A hub repository, or the name that the recipe gave.
        revision: Its commit, if it has one.
    """

    name: str
    revision: str | None = None


class Tuning(Callback, ABC):
    """Chosen layers of a live model while they are tuned.

    Attributes:
        model: What the loop runs.
        parameters: What it trains, by name; all of it float32 or wider.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, parameters: Mapping[str, Tensor]) -> None:
        self.model = model
        self.parameters = parameters

    def extra_loss(self, step: int) -> Tensor | None:
        """A term of the loss of a step (from 1) that depends on the parameters alone; None for none."""
        return None

    def after_step(self, step: Step) -> None:
        """What the method does after every update."""
        return

    def state(self) -> dict[str, Tensor]:
        """What it remembers between steps besides its parameters."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        return

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the update as it is now; `folder` is whole or absent."""

    @abstractmethod
    def assert_moved(self) -> None:
        """Prove that the chosen layers changed and nothing else.

        Raises:
            StageFailed: They did not, or something else did.
        """
