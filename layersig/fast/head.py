"""Logits where they are needed and nowhere else.

The output head of a language model is its largest matrix product, and most positions are never scored. `logits_at`
gathers the hidden states in a pre-hook of the head, so that the model's own forward still applies whatever it does
after the head (soft-capping, scaling). `split_at_head` separates body and head, for callers that take the logits in
pieces.

How the separation works, for any causal language model of transformers: the model's forward calls its body
(`body_of`) and feeds `last_hidden_state` to the head and to what follows it. The body is replaced for two calls.

1. `SplitModel.run` calls the model with its inputs. The body runs as usual, its output is kept, and the model receives
   a copy whose sequence is empty, [batch, 0, hidden]. The head cannot be skipped from outside, but on no rows it costs
   nothing, and its empty logits are dropped.
2. The function that `run` returns calls the model's forward without inputs. Only the body reads them, and the body is
   replaced by one that returns the hidden states of some positions. What the model does behind its body, it now does
   to these.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.models.replaced_forwards import replaced_forwards

LOGIT_ELEMENTS = 2**28
"""Number of logits worth holding at once: 1 GiB in float32."""


@contextmanager
def logits_at(model: nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Within this context the model's forward returns `logits` of shape [len(positions), vocabulary].

    Args:
        model: A Hugging Face causal language model, or a PEFT model around one.
        positions: Indices into the flattened [batch * length] token positions, shape [n], on the model's device;
            in the order wanted, repeats allowed.

    Example:
        rows, columns = torch.nonzero(labels[:, 1:] != -100, as_tuple=True)
        with logits_at(model, rows * labels.shape[1] + columns):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = cross_entropy(logits, labels[:, 1:][rows, columns])
    """

    def gather(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0]
        # Of a model over several devices the last states are not where the first ones are.
        where = positions.to(hidden.device)
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, where), *inputs[1:])

    head: nn.Module = model.get_output_embeddings()  # type: ignore[operator]  # every Hugging Face model has it
    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


class SplitModel:
    """A causal language model whose head runs apart from its body, as the module's docstring says.

    Threads may share it: each has a replaced body of its own.

    Attributes:
        model: The model. Outside of `run` and the functions that it returns, it runs as usual.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._own_forward = body_of(model).forward
        self._passing = threading.local()

    def run(self, inputs: Mapping[str, Any], positions: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Run the body; the head can then be run on some positions at a time.

        Args:
            inputs: Keyword arguments of the model's forward.
            positions: As for `logits_at`.

        Returns:
            Hidden states at `positions`, [n, hidden size], and a function that gives the logits, [m, vocabulary], of m
            of them: whatever the model's own forward does after its body.
        """
        kept: list[Any] = []

        def body(*args: Any, **kwargs: Any) -> Any:
            kept.append(self._own_forward(*args, **kwargs))
            return dataclasses.replace(kept[0], last_hidden_state=kept[0].last_hidden_state[:, :0])

        with self._body(body):
            self.model(**{"use_cache": False, **inputs})
        (outputs,) = kept

        def logits(hidden: Tensor) -> Tensor:
            with self._body(lambda *args, **kwargs: dataclasses.replace(outputs, last_hidden_state=hidden[None])):
                # Not called as a module: hooks around the whole model have run once already.
                found: Tensor = self.model.forward(use_cache=False).logits
            return found[0]

        return outputs.last_hidden_state.flatten(0, -2).index_select(0, positions), logits

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward of the body: this thread's replacement, or its own."""
        return getattr(self._passing, "body", self._own_forward)(*args, **kwargs)

    @contextmanager
    def _body(self, forward: Callable[..., Any]) -> Iterator[None]:
        self._passing.body = forward
        try:
            yield
        finally:
            del self._passing.body


@contextmanager
def split_at_head(model: PreTrainedModel) -> Iterator[SplitModel]:
    """Within this context head and body of a Hugging Face causal language model can be run apart."""
    split = SplitModel(model)
    with replaced_forwards({body_of(model): split.forward}):
        yield split


def body_of(model: PreTrainedModel) -> nn.Module:
    """What the model's forward calls for hidden states: its base model, or the decoder in that, as OPT and BART do."""
    base: nn.Module = model.base_model
    decoder = getattr(base, "decoder", None)
    return decoder if isinstance(decoder, nn.Module) else base
