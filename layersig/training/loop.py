"""The one training loop: gradient descent on whatever requires a gradient.

An optimizer batch is the unit of meaning. Its loss is the sum of the cross entropy over its target tokens, divided by
their number, or with another objective (`layersig.objectives`) the mean over its pairs. How a batch goes through the
model is the runner's business (`layersig.fast.runner`), and changes nothing but rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from layersig.distributed.sharding import whole
from layersig.errors import Diverged
from layersig.fast.runner import Workload, training_runner
from layersig.models.devices import peak_memory
from layersig.training.callbacks import Callback, TrainingState
from layersig.training.log import Step, TrainLog
from layersig.training.optimization import Optimization


def train(
    work: Workload, rule: Optimization, callbacks: Sequence[Callback] = (), *, last: int | None = None
) -> TrainLog:
    """Train the parameters of `work` in place.

    Args:
        work: Model, parameters, examples and optimizer batches.
        rule: How the parameters move.
        callbacks: What else happens; called in this order at every moment.
        last: Number of the step to end after; the schedule stays that of all batches, so that a longer training has
            the same beginning. All of them, when absent.

    Raises:
        Diverged: A loss or a gradient was not finite; the parameters are those before that step.
    """
    planned = len(work.batches)
    optimizer = rule.build(work.parameters.values())
    state = TrainingState(work.parameters, optimizer, planned, planned if last is None else last)
    tokens, targets = work.examples.lengths, work.examples.target_counts
    with ExitStack() as stack:
        for callback in callbacks:
            stack.enter_context(callback.during(state))
        memory = stack.enter_context(peak_memory(work.base.device))
        runner = stack.enter_context(training_runner(work))
        for number in range(len(state.steps) + 1, state.last + 1):
            began = time.perf_counter()
            batch = list(work.batches[number - 1])
            for callback in callbacks:
                callback.before_step(number)

            optimizer.zero_grad(set_to_none=True)
            loss = runner.loss_and_gradients(batch, number)
            loss += _extra_loss(callbacks, number)
            norm = _clip(work.parameters.values(), rule.clip)
            lr = rule.learning_rate_at(number - 1, planned)
            _check_finite(number, lr, loss, norm, state.steps)
            for callback in callbacks:
                callback.before_update(number)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

            seconds = time.perf_counter() - began
            step = Step(number, loss, lr, norm, int(tokens[batch].sum()), int(targets[batch].sum()), seconds)
            state.steps.append(step)
            ended = [callback.after_step(step) for callback in callbacks]
            if any(ended):
                break
    return TrainLog(tuple(state.steps), memory.peak, runner.numerics)


def _extra_loss(callbacks: Sequence[Callback], number: int) -> float:
    """Sum of the extra loss terms of a step, whose gradients are added to those of the batch."""
    total = 0.0
    for callback in callbacks:
        extra = callback.extra_loss(number)
        if extra is not None:
            extra.backward()  # type: ignore[no-untyped-call]
            total += extra.item()
    return total


def _clip(parameters: Iterable[Tensor], clip: float | None) -> float:
    """Norm of the gradient of all parameters together, which is scaled down to `clip` if it is longer."""
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([each.grad for each in moved if each.grad is not None], foreach=True)
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(moved, clip, norm, foreach=True)
    return whole(norm).item()


def _check_finite(number: int, lr: float, loss: float, norm: float, steps: Sequence[Step]) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    found = f"loss is {loss}" if not math.isfinite(loss) else f"norm of the gradient is {norm}"
    if not steps:
        raise Diverged(
            f"training, step {number}: the {found} before anything was trained; check the weights of the model and, "
            "where an update is scored, the training that made it (too high a train.learning_rate makes weights huge), "
            "or set model.dtype to float32"
        )
    raise Diverged(
        f"training, step {number}: the {found} at learning rate {lr:.3g} (the last finite loss was "
        f"{steps[-1].loss:.4g}); lower train.learning_rate, raise train.warmup_ratio, or set train.clip"
    )
