"""Runs a model block by block: the hidden state between any two blocks, and the model from any block on.

The model's own forward does the work, so that embedding, masks, positions and final norm are its own; some blocks are
made to return their input. States are taken from the blocks themselves: `hidden_states[-1]` of transformers
lies behind the final norm and would distort the last block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.errors import UserError
from layersig.models.layermap import block_list
from layersig.models.replaced_forwards import replaced_forwards


@dataclass(frozen=True, slots=True, eq=False)
class ForwardPass:
    """What a pass through the whole model gave.

    Attributes:
        logits: As the model gives them.
        states: Hidden state before every block, and behind the last one: one more than there are blocks. A block that
            was skipped has the same tensor on both sides.
    """

    logits: Tensor
    states: tuple[Tensor, ...]


class BlockRunner:
    """A model that can be run from any block on; no KV cache is used.

    Args:
        model: A decoder without adapters, in eval mode; it is left as it was after every call.
        skipped: Numbers of blocks that hand on what they are given, from 0.
    """

    def __init__(self, model: PreTrainedModel, skipped: Collection[int] = ()) -> None:
        self._model = model
        self._blocks = tuple(block_list(model)[1])
        self._skipped = frozenset(skipped)
        if self._skipped:
            self._must_be_apart()
        self._lengths = _lengths_of_outputs(model, self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def run(self, inputs: Mapping[str, Any]) -> ForwardPass:
        """Run the whole model.

        Args:
            inputs: Keyword arguments of the model's forward.
        """
        states: list[Tensor] = []

        def watched(number: int, own: Callable[..., Any]) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                states.append(_entering(args, kwargs))
                output = self._wrapped(number, states[-1]) if number in self._skipped else own(*args, **kwargs)
                if number == len(self) - 1:
                    states.append(output if isinstance(output, Tensor) else output[0])
                return output

            return forward

        with replaced_forwards({block: watched(number, block.forward) for number, block in enumerate(self._blocks)}):
            logits = self._model(**inputs, use_cache=False).logits
        return ForwardPass(logits, tuple(states))

    def resume(self, inputs: Mapping[str, Any], place: int, state: Tensor) -> Tensor:
        """Run the model from block `place` on, as if the blocks before had left `state`; gives its logits.

        Args:
            inputs: As of the `run` that came before; its tokens are embedded again and then ignored.
            place: Number of the first block that runs, from 1; the number of blocks runs final norm and head alone.
            state: Hidden state in front of that block, of the shape of `ForwardPass.states`.

        Raises:
            UserError: Blocks of the model share keys and values.
        """
        self._must_be_apart()

        def handing_on(number: int) -> Callable[..., Any]:
            return lambda *args, **kwargs: self._wrapped(number, _entering(args, kwargs) if number else state)

        idle = [number for number in range(len(self)) if number < place or number in self._skipped]
        with replaced_forwards({self._blocks[number]: handing_on(number) for number in idle}):
            logits: Tensor = self._model(**inputs, use_cache=False).logits
        return logits

    def _must_be_apart(self) -> None:
        """Refuse a model whose blocks need what others compute besides the state.

        Raises:
            UserError: It is one.
        """
        if getattr(self._model.config.get_text_config(), "num_kv_shared_layers", 0):
            raise UserError(
                "the last blocks of this model take keys and values from earlier ones (num_kv_shared_layers), so it "
                "cannot be run without some"
            )

    def _wrapped(self, number: int, state: Tensor) -> Any:
        """A state in the form in which a block gives it: alone, or first in a tuple."""
        length = self._lengths[number]
        return state if length is None else (state, *[None] * (length - 1))


def _lengths_of_outputs(model: PreTrainedModel, blocks: Sequence[nn.Module]) -> list[int | None]:
    """Lengths of the tuples that blocks give, None for one that gives a tensor; tried out on one token."""
    found: dict[nn.Module, int | None] = {}

    def look(module: nn.Module, args: Any, output: Any) -> None:
        found[module] = None if isinstance(output, Tensor) else len(output)

    handles = [block.register_forward_hook(look) for block in blocks]
    try:
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [found[block] for block in blocks]


def _entering(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    state: Tensor = args[0] if args else kwargs["hidden_states"]
    return state
