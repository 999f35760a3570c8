"""What a training holds in memory on a GPU, counted on the meta device: the model's own code runs, without values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from peft import LoraConfig
from peft.mapping import inject_adapter_in_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.data.examples import Example, Examples
from layersig.fast.batching import PaddedBatching
from layersig.fast.dropout import keyed_dropout
from layersig.fast.head import split_at_head
from layersig.fast.lora import fast_lora
from layersig.fast.loss import target_loss
from layersig.fast.meta_attention import meta_attention
from layersig.fast.recompute import checkpointed_blocks
from layersig.layers import Layer
from layersig.models.adapters.inject import targets
from layersig.models.adapters.wrappers import Restorer, expected_warnings
from layersig.models.dense import trained_weights
from layersig.models.live_bytes import LiveBytes
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.training.footprint import planned_tokens

_TARGET = 7
"""Any token that is no special one."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Bytes of a training on a GPU.

    Attributes:
        weights: The model as it is held.
        trained: What is trained.
        passing: What the passes of a micro-batch hold at their peak, the gradients of what is trained included.
    """

    weights: int
    trained: int
    passing: int


def count_training(
    model: PreTrainedModel, layers: Sequence[Layer], settings: TrainSettings, *, whole: bool, length: int
) -> Counted:
    """Run two micro-batches of a training forward and backward on the meta device.

    Rows are padded, all of one length, and every token but the first is a target: the most that a budget allows.
    Attention is that of a flash kernel. Methods of LoRA's family count as LoRA of the same rank.

    Args:
        model: On the meta device, in the type that it computes in, frozen; left as it was.
        layers: What is tuned.
        settings: Rank, dropout, budget of a micro-batch, checkpointing.
        whole: Whether weights themselves are trained, not factors.
        length: Tokens of the longest example.
    """
    tokens = planned_tokens(settings.micro_batch_tokens)
    rows = max(1, min(settings.batch_size, tokens // length))
    examples = _rows(2 * rows, length)
    batching = PaddedBatching(max(tokens, length))
    with ExitStack() as stack:
        stack.enter_context(meta_attention(model))
        live = stack.enter_context(LiveBytes(model.parameters()))
        weights = live.current
        parameters = stack.enter_context((_weights if whole else _factors)(model, layers, settings))
        trained = live.current - weights
        keys = stack.enter_context(keyed_dropout(model, Streams(0)))
        stack.enter_context(fast_lora(model))
        if settings.gradient_checkpointing:
            stack.enter_context(checkpointed_blocks(model))
        split = stack.enter_context(split_at_head(model))
        for batch in (range(rows), range(rows, 2 * rows)):
            micro = batching.lay_out([examples[index] for index in batch], model.device)
            keys.set(1, *micro.layouts)
            torch.autograd.backward(target_loss(split, micro, 1), inputs=parameters)
        return Counted(weights, trained, live.peak - weights - trained)


def _rows(count: int, length: int) -> Examples:
    tokens, targets = np.full(length, _TARGET, np.int32), np.arange(length) > 0
    return Examples.of([Example(f"example-{number}", str(number), tokens, targets) for number in range(count)])


@contextmanager
def _weights(model: PreTrainedModel, layers: Sequence[Layer], settings: TrainSettings) -> Iterator[list[Tensor]]:
    with trained_weights(model, layers) as weights:
        yield list(weights.values())


@contextmanager
def _factors(model: PreTrainedModel, layers: Sequence[Layer], settings: TrainSettings) -> Iterator[list[Tensor]]:
    modules, parameters = targets(model, layers)
    config = LoraConfig(
        r=settings.adalora.init_r if settings.method == "adalora" else settings.rank,
        lora_dropout=0.0 if parameters else settings.dropout,
        target_modules=modules,
        target_parameters=parameters or None,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    restorer = Restorer(model)
    try:
        with expected_warnings(), torch.device(model.device):
            inject_adapter_in_model(config, model)
        factors = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
        for parameter in factors:
            parameter.data = parameter.data.float()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        yield factors
    finally:
        restorer.restore()
