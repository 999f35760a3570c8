"""What can happen at the named moments of a training, and the callbacks that every stage may use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layersig.training.log import Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from layersig.stages.job import Reporter


@dataclass(slots=True, eq=False)
class TrainingState:
    """What a running training consists of.

    Attributes:
        parameters: What is trained, by name.
        optimizer: Moves them.
        planned: Number of steps of the complete schedule.
        last: Number of the step to end after.
        steps: The steps done so far.
    """

    parameters: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    planned: int
    last: int
    steps: list[Step] = field(default_factory=list)


class Callback:
    """The moments of a training, in order. At each of them the base class does nothing.

    The loop calls every callback at a moment before it goes on to the next moment, in the order in which it was given
    them.
    """

    @contextmanager
    def during(self, state: TrainingState) -> Iterator[None]:
        """Around the training: entered before the first step, left after the last one or after an exception."""
        yield

    def before_step(self, number: int) -> None:
        """Before the forward passes of a step (numbered from 1)."""
        return

    def extra_loss(self, number: int) -> Tensor | None:
        """Optional extra loss term of a step, computed from the parameters only."""
        return None

    def before_update(self, number: int) -> None:
        """Gradients are there and finite, and the optimizer is about to move the parameters."""
        return

    def after_step(self, step: Step) -> bool | None:
        """After the update; True ends the training here."""
        return None


class AfterStep(Callback):
    """Calls a function after every step, which ends the training by returning True."""

    def __init__(self, call: Callable[[Step], bool | None]) -> None:
        self._call = call

    def after_step(self, step: Step) -> bool | None:
        """Call it."""
        return self._call(step)


class Milestones(Callback):
    """Calls functions after certain steps.

    Args:
        calls: By number of the step (from 1), what to call after it.
    """

    def __init__(self, calls: Mapping[int, Callable[[], None]]) -> None:
        self._calls = calls

    def after_step(self, step: Step) -> None:
        """Call what is due."""
        if step.step in self._calls:
            self._calls[step.step]()


class InTurn(Callback):
    """Lets only some parameters move in a step; the others keep value and moments.

    Args:
        in_turn: Gives the names of the parameters that move in a step (from 1).
    """

    def __init__(self, in_turn: Callable[[int], Collection[str]]) -> None:
        self._in_turn = in_turn
        self._parameters: Mapping[str, Tensor] = {}

    @contextmanager
    def during(self, state: TrainingState) -> Iterator[None]:
        """All of them require a gradient again afterwards."""
        self._parameters = state.parameters
        try:
            yield
        finally:
            self._move_only(self._parameters)

    def before_step(self, number: int) -> None:
        """Choose those in turn."""
        self._move_only(self._in_turn(number))

    def _move_only(self, names: Collection[str]) -> None:
        # An optimizer skips a parameter without a gradient, weight decay included.
        for name, parameter in self._parameters.items():
            parameter.requires_grad_(name in names)


class Progress(Callback):
    """Reports every step. Belongs behind `Checkpoints`, which says how many steps are done already."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    @contextmanager
    def during(self, state: TrainingState) -> Iterator[None]:
        """Report the steps that an earlier process has done."""
        self._reporter.start("train", state.last, "step")
        self._reporter.advance(len(state.steps))
        yield

    def after_step(self, step: Step) -> None:
        """Report one more."""
        self._reporter.advance(1, tokens=step.tokens, note=f"loss {step.loss:.3f}")
