"""The door to the fast paths: loss and gradients of examples, whatever way they go through the model.

Two contexts prepare a model and give a `Runner`: `training_runner` for the training loop, `reading_runner` for losses
and gradients of a model as it is. With `fast=False` both give a `PlainRunner`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.data.pairs import Items, Pairs
from layersig.distributed.world import ALONE, world
from layersig.fast.batching import Batching, MicroBatch, PaddedBatching, batching_of
from layersig.fast.budget import keeps_blocks, reserved_bytes, tokens_at_once
from layersig.fast.dropout import DropoutKeys, drop_out, keyed_dropout
from layersig.fast.head import SplitModel, split_at_head
from layersig.fast.lora import fast_lora
from layersig.fast.loss import log_probabilities, target_loss
from layersig.fast.numerics import KEPT_PREFIX, LORA_LINEAR, RECOMPUTED
from layersig.fast.plain import PlainRunner, singly
from layersig.fast.prefix import Prefix, kept_prefix
from layersig.fast.protocol import Runner
from layersig.fast.recompute import checkpointed_blocks
from layersig.fast.shares import Sharing
from layersig.fast.workers import accumulate
from layersig.models.determinism import deterministic
from layersig.models.devices import free
from layersig.recipe.schema import TokenBudget, TrainSettings
from layersig.stages.halving import Halving
from layersig.streams import Streams

Result = TypeVar("Result")

_LARGEST = 2**30  # bytes of gradients that every lane may have its own copy of


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What a training runs through a model.

    Attributes:
        model: A causal language model from Hugging Face, with or without PEFT adapters.
        parameters: What is trained, by name; every value requires a gradient, and the loss depends on it.
        examples: What `batches` index: conversations, or pairs.
        batches: Optimizer batches in order.
        settings: Budget of a micro-batch, gradient checkpointing.
        streams: Random streams of the dropout masks.
        fast: Whether the fast paths are used.
    """

    model: PreTrainedModel | PeftModel
    parameters: Mapping[str, Tensor]
    examples: Items
    batches: Sequence[Sequence[int]]
    settings: TrainSettings
    streams: Streams
    fast: bool = True

    @property
    def base(self) -> PreTrainedModel:
        """The Hugging Face model, which holds the adapters too."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model


@contextmanager
def training_runner(work: Workload) -> Iterator[Runner]:
    """Within this context the model is as training wants it: its own dropouts off, those of LoRA layers by names.

    There is no attention mask: see `PaddedBatching` and `PackedBatching` for why a causal model needs none.
    """
    model, settings, sharing = work.base, work.settings, Sharing(world(), work.examples)
    trained, examples, sharded = list(work.parameters.values()), sharing.held, sharing.world.sharded
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        stack.callback(_set_modes, modes)
        stack.enter_context(deterministic(model.device))
        keys = stack.enter_context(keyed_dropout(model, work.streams))
        model.eval()
        if not work.fast:
            drop_out(model)
            yield sharing.runner(PlainRunner(model, examples, keys, sharing.cut(singly)), trained)
            return
        copied = sum(parameter.numel() * parameter.itemsize for parameter in trained)
        longest, reserved = work.examples.longest, reserved_bytes(copied, settings.optimizer, model.device)
        again = settings.gradient_checkpointing
        if not again:  # what blocks compute is kept by all processes, or by none
            largest = int(work.examples.footprints.max())
            again = not keeps_blocks(model, largest, reserved=reserved, several=sharing.world)
        budget = tokens_at_once(
            model,
            settings.micro_batch_tokens,
            learning=True,
            checkpointing=again,
            reserved=reserved,
            several=sharing.world,
        )
        packing = stack.enter_context(batching_of(model, budget, longest, side_by_side=copied <= _LARGEST))
        batching = sharing.batching(packing)
        stack.enter_context(fast_lora(model))
        if again:
            stack.enter_context(checkpointed_blocks(model))
        prefix = None
        if not sharded:  # every process must pass through all blocks
            prefix = stack.enter_context(kept_prefix(model, work.parameters, examples, work.batches, batching))
        drop_out(model)
        split = stack.enter_context(split_at_head(model))
        yield sharing.runner(
            FastRunner(
                split,
                examples,
                batching,
                trained,
                keys,
                prefix,
                split_weights=sharded,
                also=[RECOMPUTED] if again and not settings.gradient_checkpointing else [],
            ),
            trained,
        )


@contextmanager
def reading_runner(
    model: PreTrainedModel,
    examples: Items,
    token_budget: TokenBudget,
    *,
    fast: bool = True,
    pack: bool = True,
    recompute: bool = False,
    shared: bool = True,
) -> Iterator[Runner]:
    """Within this context a model is read as it is, in the mode it is in: losses, and gradients by `Runner.loss`.

    Args:
        model: A causal language model.
        examples: What batches index.
        token_budget: Tokens of a piece, or "auto".
        fast: Whether the fast paths are used.
        pack: Whether examples may lie end to end; else they are padded.
        recompute: Whether a backward pass computes what blocks compute inside once more, instead of keeping it.
        shared: Whether processes share the work; else every one does all of it.

    Raises:
        UserError: `recompute`, and the model does not say what its blocks are.
    """
    sharing = Sharing(world() if shared else ALONE, examples)
    held = sharing.held
    with deterministic(model.device):
        if not fast:
            yield sharing.runner(PlainRunner(model, held, cut=sharing.cut(singly)))
            return
        budget = tokens_at_once(model, token_budget, learning=True, checkpointing=recompute, several=sharing.world)
        packing = batching_of(model, budget, examples.longest, side_by_side=True)
        with (
            packing if pack else nullcontext(PaddedBatching(budget)) as batching,
            checkpointed_blocks(model) if recompute else nullcontext(),
            split_at_head(model) as split,
        ):
            batches = sharing.batching(batching)
            yield sharing.runner(FastRunner(split, held, batches, split_weights=sharing.world.sharded))


class FastRunner:
    """A `Runner` that uses every fast path that holds for the model.

    Args:
        split: The model.
        examples: What batches index.
        batching: How they go through it.
        parameters: What is trained.
        keys: Of the model's dropouts.
        prefix: Keeps what frozen blocks give.
        split_weights: Whether other processes hold parts of the model: what is trained of it is then found by FSDP
            alone, which shows the model other tensors while it runs.
        also: What else belongs to the names of the arithmetic.
    """

    def __init__(
        self,
        split: SplitModel,
        examples: Items,
        batching: Batching,
        parameters: Sequence[Tensor] = (),
        keys: DropoutKeys | None = None,
        prefix: Prefix | None = None,
        *,
        split_weights: bool = False,
        also: Sequence[str] = (),
    ) -> None:
        self._split, self._examples, self._batching = split, examples, batching
        self._parameters, self._keys, self._prefix, self._weights_split = parameters, keys, prefix, split_weights
        self._footprints: list[int] = examples.footprints.tolist()
        self._halving: Halving[int] = Halving("training examples", self._padded, partial(free, split.model.device))
        self._planned: int | None = None
        self._also = also
        self._weights: list[int] = examples.weights.tolist()

    @property
    def numerics(self) -> str:
        """See `Runner`."""
        kept = [KEPT_PREFIX] if self._prefix is not None else []
        return "+".join([self._batching.numerics, LORA_LINEAR, *kept, *self._also])

    def loss_and_gradients(self, batch: Sequence[int], step: int) -> float:
        """See `Runner`."""
        moved = [parameter for parameter in self._parameters if parameter.requires_grad]
        divisor, lanes = self._weight(batch), self._batching.lanes

        def attempt(pieces: Sequence[Sequence[int]]) -> float:
            for parameter in moved:
                parameter.grad = None
            if self._prefix is not None and self._halving.limit != self._planned:
                self._planned = self._halving.limit
                self._prefix.replan(self._halving.pieces)
            parts = []
            if lanes.count == 1:  # no second set of gradients is ever in memory
                for piece in pieces:
                    with self._forward(step, divisor, piece) as part:
                        torch.autograd.backward(part, inputs=None if self._weights_split else moved)
                        parts.append(part.detach())
                return _sum(parts)
            for part, gradients in lanes.run(partial(self._share, step, divisor, moved), pieces):
                parts.append(part)
                accumulate(moved, gradients)
            return _sum(parts)

        return self.in_pieces(batch, attempt)

    def losses(self, batches: Sequence[Sequence[int]]) -> list[float]:
        """See `Runner`."""
        lanes = self._batching.lanes

        def attempt(divisor: int, pieces: Sequence[Sequence[int]]) -> float:
            return _sum(list(lanes.run(partial(self._read, divisor), pieces)))

        return [self.in_pieces(batch, partial(attempt, self._weight(batch))) for batch in batches]

    def in_pieces(self, batch: Sequence[int], work: Callable[[Sequence[Sequence[int]]], Result]) -> Result:
        """See `Runner`."""
        return self._halving.together(work, self._batching.cut(self._footprints, batch))

    def loss(self, piece: Sequence[int], divisor: int) -> Tensor:
        """See `Runner`."""
        return self._loss(piece, self._lay_out(piece), divisor)

    def _loss(self, piece: Sequence[int], micro: MicroBatch, divisor: int) -> Tensor:
        if isinstance(self._examples, Pairs):
            return self._examples.total_loss(piece, log_probabilities(self._split, micro)) / divisor
        return target_loss(self._split, micro, divisor)

    @contextmanager
    def _forward(self, step: int, divisor: int, piece: Sequence[int]) -> Iterator[Tensor]:
        """What a piece contributes to the loss of a step; its backward pass belongs into the block."""
        micro = self._lay_out(piece)
        if self._keys is not None:
            self._keys.set(step, *micro.layouts)
        with self._prefix.passing(step, piece, micro) if self._prefix is not None else nullcontext():
            yield self._loss(piece, micro, divisor)

    def _share(
        self, step: int, divisor: int, moved: Sequence[Tensor], piece: Sequence[int]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """What a piece contributes to the loss of a step, and to the gradients of `moved`."""
        with self._forward(step, divisor, piece) as loss:
            # Not into `grad`: which of several lanes adds first would be left to chance.
            return loss.detach(), list(torch.autograd.grad(loss, moved, allow_unused=True))

    def _read(self, divisor: int, piece: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return self.loss(piece, divisor)

    def _lay_out(self, piece: Sequence[int]) -> MicroBatch:
        return self._batching.lay_out(self._examples.sequences(piece), self._split.model.device)

    def _padded(self, piece: Sequence[int]) -> int:
        return len(piece) * max(self._footprints[index] for index in piece)

    def _weight(self, batch: Sequence[int]) -> int:
        return sum(self._weights[index] for index in batch)


def _sum(parts: Sequence[Tensor]) -> float:
    """Sum of losses, read at once behind the last piece, since reading waits for the device."""
    total = 0.0
    for part in torch.stack(list(parts)).tolist() if parts else ():  # a small batch may leave a process without a share
        total += part
    return total


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training
