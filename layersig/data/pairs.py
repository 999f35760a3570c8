"""Pairs of a chosen and a rejected response to one prompt, tokenised, and what a training reads of them.

A pair is one item, as a conversation is: batches index pairs, and no cut of a batch divides one. On disk, the side
`NAME` of a split is two splits of `layersig.data.examples` in the same order: `NAME` has the prompts with the chosen
responses, and `NAME-rejected` with the rejected ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from layersig.data.examples import Example, Examples, read_examples

if TYPE_CHECKING:
    from torch import Tensor

REJECTED = "-rejected"
"""Ending of the name of the split that has the rejected responses, and of their ids."""
_REFERENCE = "log_probabilities"


class Scored(NamedTuple):
    """Responses of some pairs and their log-probabilities, in nats, summed over the target tokens; tensors are [pairs].

    Attributes:
        chosen: Log-probabilities of the chosen responses.
        rejected: Those of the rejected ones.
        chosen_before: Those of the chosen ones under the untouched model; zeros for objectives that do not read them.
        rejected_before: The same of the rejected ones.
        chosen_tokens: Target tokens of the chosen responses.
        rejected_tokens: Those of the rejected ones.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_before: Tensor
    rejected_before: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


@dataclass(frozen=True, eq=False)
class Pairs:
    """A side of a split: pairs, and what the loss of one is.

    Attributes:
        chosen: Prompts with the chosen responses.
        rejected: The same prompts with the rejected responses, in the same order.
        before: Log-probabilities of both under the untouched model, float64 [len, 2]; None where nothing reads them.
        loss: Loss of every pair, [pairs].
    """

    chosen: Examples
    rejected: Examples
    before: NDArray[np.float64] | None
    loss: Callable[[Scored], Tensor]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of every pair."""
        return self.chosen.groups

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every pair, both responses with their prompts, int64 [len]."""
        return self.chosen.lengths + self.rejected.lengths

    @property
    def target_counts(self) -> NDArray[np.int64]:
        """Target tokens of every pair, int64 [len]."""
        return self.chosen.target_counts + self.rejected.target_counts

    @property
    def weights(self) -> NDArray[np.int64]:
        """What every pair weighs in the mean loss of a batch: all the same, int64 [len]."""
        return np.ones(len(self), np.int64)

    @property
    def footprints(self) -> NDArray[np.int64]:
        """Tokens that every pair takes in a batch of its own, padding included, int64 [len]."""
        return 2 * np.maximum(self.chosen.lengths, self.rejected.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.chosen.longest, self.rejected.longest)

    def sequences(self, indices: Iterable[int]) -> list[Example]:
        """What goes through the model for the pairs of these indices: of each the chosen and the rejected sequence."""
        return [side[index] for index in indices for side in (self.chosen, self.rejected)]

    def part(self, indices: Sequence[int]) -> Pairs:
        """The pairs of these indices."""
        before = None if self.before is None else self.before[list(indices)]
        return Pairs(self.chosen.part(indices), self.rejected.part(indices), before, self.loss)

    def total_loss(self, indices: Sequence[int], found: Tensor) -> Tensor:
        """Sum of the losses of pairs whose responses a model gave these log-probabilities; see `scored`."""
        return self.loss(self.scored(indices, found)).sum()

    def scored(self, indices: Sequence[int], found: Tensor) -> Scored:
        """Pairs with the log-probabilities that a model gave their responses.

        Args:
            indices: The pairs.
            found: [2 * pairs], in the order of `sequences`.
        """
        rows = list(indices)
        before = np.zeros((len(rows), 2)) if self.before is None else self.before[rows]
        known = (found.new_tensor(each).unbind(1) for each in (before, self._tokens[rows]))
        return Scored(*found.view(-1, 2).unbind(1), *chain.from_iterable(known))

    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        return np.stack([self.chosen.target_counts, self.rejected.target_counts], 1)


Items = Examples | Pairs
"""What a training learns."""


def read_pairs(folder: Path, name: str, before: Path | None, loss: Callable[[Scored], Tensor]) -> Pairs:
    """The pairs of a split.

    Args:
        folder: Output of the data stage.
        name: `train` or `heldout`.
        before: Folder that `write_before` wrote to; None where the loss does not read it.
        loss: Loss of every pair.
    """
    found = None if before is None else load_file(before / f"{name}.safetensors")[_REFERENCE]
    return Pairs(read_examples(folder, name), read_examples(folder, f"{name}{REJECTED}"), found, loss)


def read_interleaved(folder: Path, name: str) -> Examples:
    """The sequences of all pairs of a split, in the order of `Pairs.sequences`."""
    sides = zip(read_examples(folder, name), read_examples(folder, f"{name}{REJECTED}"), strict=True)
    return Examples.of([example for pair in sides for example in pair])


def write_before(folder: Path, name: str, found: NDArray[np.float64]) -> None:
    """Write log-probabilities under the untouched model, [pairs, 2], as `read_pairs` reads them."""
    (folder / f"{name}.safetensors").write_bytes(save({_REFERENCE: np.ascontiguousarray(found)}))
