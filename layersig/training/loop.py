"""The one training loop: it trains whatever requires a gradient.

An optimizer batch is the unit of meaning. Its loss is the sum over its target tokens over their number, whatever the
micro-batches it is cut into, so halving them changes nothing but rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.data.examples import Example, Examples
from layersig.errors import StageFailed
from layersig.models import kernels
from layersig.models.devices import peak_memory
from layersig.models.dropout import DropoutKeys, KeyedDropout, keyed_dropout
from layersig.models.paths import KEPT_PREFIX, LORA_LINEAR
from layersig.models.targets import Split, split_at_head
from layersig.recipe.schema import TrainSettings
from layersig.stages.job import Reporter
from layersig.streams import Streams
from layersig.training.batching import Batching, batching_of
from layersig.training.blocks import checkpointed_blocks
from layersig.training.checkpoint import Memory, load_checkpoint, save_checkpoint
from layersig.training.log import Step, TrainLog
from layersig.training.loss import target_loss
from layersig.training.optimization import Optimization
from layersig.training.prefix import Prefix, kept_prefix

_LARGEST = 2**30  # bytes of gradients that every lane may have its own copy of


def train(
    model: PreTrainedModel | PeftModel,
    parameters: Mapping[str, Tensor],
    examples: Sequence[Example] | Examples,
    batches: Sequence[Sequence[int]],
    settings: TrainSettings,
    streams: Streams,
    *,
    reporter: Reporter,
    device: torch.device,
    optimization: Optimization | None = None,
    extra_loss: Callable[[int], Tensor | None] | None = None,
    after_step: Callable[[Step], bool | None] | None = None,
    in_turn: Callable[[int], Collection[str]] | None = None,
    milestones: Mapping[int, Callable[[], None]] | None = None,
    memory: Memory | None = None,
    last: int | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
) -> TrainLog:
    """Train `parameters` in place through `model`.

    The model runs in eval mode, so its own dropouts are off; LoRA layers drop out by names (`KeyedDropout`). There is
    no attention mask: see `Padded` and `Packed` for why none is needed in a causal model.

    Args:
        model: A causal language model from Hugging Face, with or without PEFT adapters, on `device`.
        parameters: What is trained, by name; every value requires a gradient, and the loss depends on it.
        examples: What `batches` index.
        batches: Optimizer batches in order.
        settings: Learning rate, schedule, budget of a micro-batch, gradient checkpointing.
        streams: Gives the dropout masks.
        reporter: Told of every step.
        device: Where the model is.
        optimization: How parameters move, instead of what `settings` say.
        extra_loss: A term of the loss of a step (numbered from 1) that depends on the parameters alone; None for none.
        after_step: Called after every update; True ends the training there.
        in_turn: Names of the parameters that move in a step (numbered from 1); the others keep value and moments. All,
            when absent.
        milestones: What to call after the step of that number (from 1).
        memory: What must be kept in a checkpoint besides parameters and optimizer.
        last: Number of the step to end after; the schedule stays that of all `batches`, so that a longer training has
            the same beginning. All of them, when absent.
        checkpoint: Folder for the state of an interrupted training. If it holds one of these parameters, training
            goes on from there and ends bit for bit as if never interrupted. `after_step` and `milestones` are not
            called again for the steps before.
        checkpoint_seconds: Wall time between two checkpoints; one more is written on an interrupt or a failure, and
            where the training ends before the last of `batches`.

    Returns:
        The log of all steps.

    Raises:
        StageFailed: A loss or a gradient was not finite; the parameters are those before that step.
    """
    rule = optimization or Optimization.of(settings)
    optimizer = rule.build(parameters.values())
    steps = list(load_checkpoint(checkpoint, parameters, optimizer, memory) if checkpoint is not None else ())
    lengths = [len(examples[index]) for index in range(len(examples))]
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    last = len(batches) if last is None else last
    reporter.start("train", last, "step")
    reporter.advance(len(steps))
    saved = time.monotonic()
    consistent = True
    with (
        peak_memory(device) as used,
        _prepared(base, parameters, examples, batches, settings, streams) as prepared,
    ):
        try:
            for number in range(len(steps) + 1, last + 1):
                began = time.perf_counter()
                indices = batches[number - 1]
                tokens = sum(lengths[index] for index in indices)
                targets = sum(int(examples[index].targets.sum()) for index in indices)
                optimizer.zero_grad(set_to_none=True)
                if in_turn is not None:
                    _move_only(parameters, in_turn(number))
                moved = [parameter for parameter in parameters.values() if parameter.requires_grad]
                share = partial(prepared.share, number, targets, moved)
                loss = 0.0
                for part, gradients in prepared.batching.lanes.run(share, prepared.batching.cut(lengths, indices)):
                    loss += part
                    _accumulate(moved, gradients)
                extra = extra_loss(number) if extra_loss is not None else None
                if extra is not None:
                    extra.backward()  # type: ignore[no-untyped-call]
                    loss += extra.item()
                norm = _clip(parameters.values(), rule.clip)
                lr = rule.learning_rate_at(number - 1, len(batches))
                if not math.isfinite(loss) or not math.isfinite(norm):
                    raise _diverged(number, lr, loss, norm, steps)
                consistent = False
                for group in optimizer.param_groups:
                    group["lr"] = lr
                optimizer.step()
                steps.append(Step(number, loss, lr, norm, tokens, targets, time.perf_counter() - began))
                reporter.advance(1, tokens=tokens, note=f"loss {loss:.3f}")
                ended = after_step is not None and after_step(steps[-1])
                if milestones and number in milestones:
                    milestones[number]()
                consistent = True
                if ended:
                    break
                if checkpoint is not None and time.monotonic() - saved > checkpoint_seconds:
                    save_checkpoint(checkpoint, parameters, optimizer, steps, memory)
                    saved = time.monotonic()
            if checkpoint is not None and len(steps) < len(batches):
                save_checkpoint(checkpoint, parameters, optimizer, steps, memory)
        except (KeyboardInterrupt, StageFailed):
            # An interrupt between an update and its entry in the log leaves the checkpoint before it.
            if checkpoint is not None and consistent:
                save_checkpoint(checkpoint, parameters, optimizer, steps, memory)
            raise
        finally:
            _move_only(parameters, parameters)
    numerics = [prepared.batching.numerics, LORA_LINEAR, *([KEPT_PREFIX] if prepared.prefix is not None else [])]
    return TrainLog(tuple(steps), used.peak, "+".join(numerics))


def _move_only(parameters: Mapping[str, Tensor], names: Collection[str]) -> None:
    """Give the others no gradient: an optimizer passes over what has none."""
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)


def _accumulate(parameters: Sequence[Tensor], gradients: list[Tensor | None]) -> None:
    """Move the gradient of a micro-batch over to that of the parameters, one after the other."""
    for place, parameter in enumerate(parameters):
        gradient, gradients[place] = gradients[place], None
        if gradient is not None:
            parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad.add_(gradient)


def _clip(parameters: Iterable[Tensor], clip: float | None) -> float:
    """Norm of the whole gradient, which is scaled down to `clip` if it is longer."""
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([each.grad for each in moved if each.grad is not None], foreach=True)
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(moved, clip, norm, foreach=True)
    return norm.item()


def _diverged(number: int, lr: float, loss: float, norm: float, steps: Sequence[Step]) -> StageFailed:
    found = f"loss is {loss}" if not math.isfinite(loss) else f"norm of the gradient is {norm}"
    if not steps:
        return StageFailed(
            f"training, step {number}: the {found} before anything was trained; check the weights of the model, or set "
            "model.dtype to float32"
        )
    return StageFailed(
        f"training, step {number}: the {found} at learning rate {lr:.3g} (the last finite loss was "
        f"{steps[-1].loss:.4g}); lower train.learning_rate, raise train.warmup_ratio, or set train.clip"
    )


@dataclass(frozen=True, slots=True)
class _Prepared:
    split: Split
    examples: Sequence[Example] | Examples
    batching: Batching
    keys: DropoutKeys
    prefix: Prefix | None

    def share(
        self, step: int, targets: int, moved: Sequence[Tensor], cut: Sequence[int]
    ) -> tuple[float, list[Tensor | None]]:
        """What a micro-batch contributes to the loss of a step, and to the gradients of `moved`."""
        micro = self.batching.lay_out([self.examples[index] for index in cut], self.split.model.device)
        self.keys.set(step, *micro.layouts)
        with self.prefix.passing(step, cut, micro) if self.prefix is not None else nullcontext():
            loss = target_loss(self.split, micro, targets)
            # Not into `grad`: which of several lanes adds first would be left to chance.
            return loss.item(), list(torch.autograd.grad(loss, moved, allow_unused=True))


@contextmanager
def _prepared(
    model: PreTrainedModel,
    parameters: Mapping[str, Tensor],
    examples: Sequence[Example] | Examples,
    batches: Sequence[Sequence[int]],
    settings: TrainSettings,
    streams: Streams,
) -> Iterator[_Prepared]:
    """The model as training wants it: its own dropouts off, those of LoRA layers keyed, the fast paths in place."""
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        stack.callback(_set_modes, modes)
        keys = stack.enter_context(keyed_dropout(model, streams))
        model.eval()
        longest = max(len(examples[index]) for index in range(len(examples)))
        copied = sum(parameter.numel() * parameter.itemsize for parameter in parameters.values())
        batching = stack.enter_context(
            batching_of(model, settings.micro_batch_tokens, longest, side_by_side=copied <= _LARGEST)
        )
        stack.enter_context(kernels.fast_lora(model))
        if settings.gradient_checkpointing:
            stack.enter_context(checkpointed_blocks(model))
        prefix = stack.enter_context(kept_prefix(model, parameters, examples, batches, batching))
        for module in model.modules():
            if isinstance(module, KeyedDropout):
                module.train()
        split = stack.enter_context(split_at_head(model))
        yield _Prepared(split, examples, batching, keys, prefix)


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training
