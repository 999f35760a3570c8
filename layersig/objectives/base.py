"""What an objective is: what a training reads of its data, and the loss of that.

This module and those of the objectives import torch and NumPy inside functions only: recipes are checked without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layersig.plugin.components import Params as ComponentParams

if TYPE_CHECKING:
    from torch import Tensor

    from layersig.data.pairs import Items, Pairs, Scored


class Objective(ABC):
    """A training objective; declare it with `@objective` and, where it has parameters, a nested class `Params`."""

    Params: type[ComponentParams] = ComponentParams

    @abstractmethod
    def examples(self, params: Any, folder: Path, split: str, untouched: Path | None) -> Items:
        """What a training reads.

        Args:
            params: The objective's own parameters.
            folder: Output of the data stage.
            split: `train` or `heldout`.
            untouched: Output of the stage with the log-probabilities under the untouched model; None where the
                objective does not read the reference.
        """


class PairObjective(Objective):
    """An objective that learns from pairs, by a margin: how far a model prefers the chosen response to the rejected."""

    @abstractmethod
    def margin(self, params: Any, pairs: Scored) -> Tensor:
        """Margin of every pair, [pairs]: positive where the chosen response is preferred."""

    @abstractmethod
    def loss(self, params: Any, margin: Tensor) -> Tensor:
        """Loss of every pair by its margin, [pairs]; that of a batch is the mean over its pairs."""

    def pair_loss(self, params: Any, pairs: Scored) -> Tensor:
        """Loss of every pair, [pairs]."""
        return self.loss(params, self.margin(params, pairs))

    def examples(self, params: Any, folder: Path, split: str, untouched: Path | None) -> Pairs:
        """The pairs of the split, and their loss."""
        from layersig.data.pairs import read_pairs

        return read_pairs(folder, split, untouched, partial(self.pair_loss, params))


def smoothed(margin: Tensor, label_smoothing: float) -> Tensor:
    """-(1 - e) log sigmoid(m) - e log sigmoid(-m): cross entropy of a margin m where a share e of labels is wrong."""
    from torch.nn.functional import logsigmoid

    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
