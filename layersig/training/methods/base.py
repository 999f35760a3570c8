"""What a tuning method is: what it trains of the chosen layers, adds to a step, remembers, and leaves behind.

This module and those of the methods import torch and PEFT inside functions only: recipes are checked without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layersig.layers import Layer
from layersig.plugin.components import Component
from layersig.plugin.components import Params as ComponentParams
from layersig.recipe.schema import TrainSettings
from layersig.training.callbacks import Callback
from layersig.training.log import Step

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

    from layersig.data.pairs import Items
    from layersig.streams import Streams


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
        parameters: What it trains, by name; all of it float32 or wider. The full name of its layer is in every name.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, parameters: Mapping[str, Tensor]) -> None:
        self.model = model
        self.parameters = parameters

    def extra_loss(self, step: int) -> Tensor | None:
        """Optional extra loss term of a step (from 1), computed from the parameters only."""
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
        """Write the update as it is now; `folder` is complete or absent.

        A method whose `result` is `adapter` writes one of the LoRA family in PEFT's format, which must load onto the
        base model as it was (`layersig.models.adapters.save_adapter`). One whose `result` is `checkpoint` writes the
        difference of the weights (`layersig.models.dense.write_update`).
        """

    @abstractmethod
    def assert_moved(self) -> None:
        """Prove that the chosen layers changed and nothing else.

        Raises:
            StageFailed: They did not, or something else did.
        """


@dataclass(frozen=True, kw_only=True)
class TuningContext:
    """What a tuning method works with.

    Attributes:
        model: A model without adapters, in eval mode, its gradients off.
        layers: What is tuned; nothing else may be.
        settings: `[train]`, with what the arm or scorer changes of it.
        method: The method as a component.
        base: What adapters say about the model they belong to.
        steps: Planned optimizer steps.
        streams: Random streams of the cell; the stream ("adapter-init", LAYER) is that of a layer's start, so that a
            layer starts the same whichever others are selected.
        ranks: Ranks of single layers by full name, where `ranks` is not `equal`.
        examples: What the layers are trained on, for methods that look at it before; None where that is not known.
        batches: Optimizer batches, by index of the examples.
    """

    model: PreTrainedModel
    layers: Sequence[Layer]
    settings: TrainSettings
    method: Component
    base: Base
    steps: int
    streams: Streams
    ranks: Mapping[str, int] = field(default_factory=dict)
    examples: Items | None = None
    batches: Sequence[Sequence[int]] = ()

    @property
    def params(self) -> Any:
        """The method's own parameters."""
        return self.settings.params(self.method)


class Method(ABC):
    """A tuning method; declare it with `@method` and, where it has parameters, a nested class `Params`."""

    Params: type[ComponentParams] = ComponentParams

    @abstractmethod
    def tune(self, context: TuningContext) -> AbstractContextManager[Tuning]:
        """Within this context the layers of a model are tuned; afterwards the model is bit for bit as before.

        Raises:
            UserError: The method cannot tune these layers of this model.
            StageFailed: Something else than the chosen layers would be trained.
        """

    @abstractmethod
    def trained_values(self, layer: Layer, settings: TrainSettings) -> int:
        """How many values of a layer are trained. Plans count by this and the two below, without torch."""

    def passes_before(self, settings: TrainSettings) -> Mapping[str, int]:
        """Passes over single optimizer batches that it makes before the training, by the kinds that plans know."""
        return {}

    def stored_values(self, layer: Layer, settings: TrainSettings) -> int:
        """How many values of a layer `Tuning.save` writes: those that are trained, unless it says otherwise."""
        return self.trained_values(layer, settings)

    def update_values(self, layer: Layer, settings: TrainSettings) -> int:
        """How many values of a layer a scorer holds that reads the update: those stored, unless it says otherwise."""
        return self.stored_values(layer, settings)
