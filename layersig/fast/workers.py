"""Worker threads ("lanes") that run parts of a batch at the same time, each with a share of torch's threads.

On a CPU, an operation on a small tensor keeps one core busy while the others are idle; so does Python between two
operations, and threads that share an operation wait for each other at its end. A lane works on parts of its own, so
that the small operations of one lane overlap with the large ones of another.

Plain twin: the same parts, one after the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from peft.tuners.lora.layer import ParamWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from layersig.fast import profile

Task = TypeVar("Task")
Result = TypeVar("Result")
Value = TypeVar("Value")

_ROPE_WITH_STATE = {"dynamic", "longrope"}


class Lanes:
    """Runs work on `count` parts at a time, or on one after the other if `count` is 1."""

    def __init__(self, count: int = 1, pool: ThreadPoolExecutor | None = None) -> None:
        self.count = count
        self._pool = pool

    def run(self, work: Callable[[Task], Result], parts: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of the parts. Once this ends, also by an exception, no work is running any more.

        A single part is run here, with all threads.
        """
        if self._pool is None or len(parts) == 1:
            yield from map(work, parts)
            return
        running = deque(self._pool.submit(work, part) for part in parts)
        try:
            while running:
                yield running[0].result()
                running.popleft()
        finally:
            for each in running:
                each.cancel()
            wait(running)


@contextmanager
def lanes(count: int) -> Iterator[Lanes]:
    """Threads for `count` parts at a time, among which torch's threads are shared out; a divisor of their number."""
    if count == 1:
        yield Lanes()
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "layersig-lane", torch.set_num_threads, (threads // count,))
    try:
        yield Lanes(count, pool)
    finally:
        pool.shutdown(cancel_futures=True)
        # The number that a lane sets is also that of threads to come.
        torch.set_num_threads(threads)


def lanes_for(model: PreTrainedModel) -> int:
    """How many lanes may run a model at once: one where passes would not be independent of each other.

    That is wherever a pass leaves something behind in the model for a while: parameters that are replaced or
    parametrized during a forward, positional encodings that change with the length, hooks of whatever kind. Threads
    that cannot be shared out evenly make one lane, too.
    """
    count = profile.profile_of(model.device).lanes
    if count == 1:
        return 1
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = {each.get("rope_type") for each in (rope, *rope.values()) if isinstance(each, dict)}
    if kinds & _ROPE_WITH_STATE or any(_keeps_state(module) for module in model.modules() if module is not model):
        return 1
    return count if torch.get_num_threads() % count == 0 else 1


def _keeps_state(module: nn.Module) -> bool:
    return isinstance(module, ParamWrapper) or bool(module._forward_hooks or module._forward_pre_hooks)


class PerThread(Generic[Value]):
    """A value that every thread sets for itself; a thread that has set none gets the value that was set last.

    Lanes run different parts of a batch through one model, so what a module must know about the part that passes it
    (dropout keys, the kept prefix, gates) is kept per thread. Autograd, however, runs the backward pass of a GPU in
    threads of its own, where recomputed blocks ask for the same value and nobody has set it. There is a single lane
    then (`lanes_for`), so the last value is the right one.
    """

    def __init__(self, value: Value) -> None:
        self._own = threading.local()
        self._latest = value

    @property
    def value(self) -> Value:
        """The value of this thread."""
        found: Value = getattr(self._own, "value", self._latest)
        return found

    @value.setter
    def value(self, value: Value) -> None:
        self._own.value = self._latest = value


def accumulate(parameters: Sequence[Tensor], gradients: list[Tensor | None]) -> None:
    """Move the gradient of a piece over to that of the parameters, one after the other."""
    for place, parameter in enumerate(parameters):
        gradient, gradients[place] = gradients[place], None
        if gradient is not None:
            parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad.add_(gradient)
