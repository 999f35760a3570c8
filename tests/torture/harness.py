"""Run damaged inputs one by one and sort what happened: accepted, told, or one of the faults that must not occur."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from layersig.errors import LayersigError

LIMIT = 5.0
_HANGS = 600.0  # of the clock, on a machine that may have other work


@dataclass(frozen=True)
class Trial:
    """One damaged input.

    Attributes:
        name: How it was made, so that it can be made again: the family, the seed.
        run: Reads the input through the product's own entry; returns when it was accepted. A text that it returns is
            counted.
        place: What a message about it must name, for instance the file.
    """

    name: str
    run: Callable[[], object]
    place: str


@dataclass
class Survey:
    """What happened to the trials of one kind.

    Attributes:
        kind: Kind of input.
        counts: Trials by what happened.
        faults: Name of the trial, and what happened, for all that must not happen.
        slowest: Seconds of the processor that the slowest trial took.
        notes: Texts that trials returned.
    """

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    slowest: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Number of trials."""
        return self.counts.total()


def survey(kind: str, trials: Iterable[Trial]) -> Survey:
    """Run every trial; one that takes more than `LIMIT` seconds of the processor counts as slow."""
    found = Survey(kind)
    for trial in trials:
        started = time.process_time()
        outcome, what = _outcome(trial)
        if outcome == "accepted" and what:
            found.notes[what] += 1
        seconds = time.process_time() - started
        found.slowest = max(found.slowest, seconds)
        if seconds > LIMIT:
            outcome, what = "slow", f"{seconds:.1f} s; {what}"
        found.counts[outcome] += 1
        if outcome not in ("accepted", "told"):
            found.faults.append((trial.name, f"{outcome}: {what}"))
    return found


def _outcome(trial: Trial) -> tuple[str, str]:
    try:
        with _limited(_HANGS):
            note = trial.run()
    except LayersigError as error:
        message = str(error)
        return ("told" if trial.place in message else "without a place"), message
    except _Hangs:
        return "slow", f"stopped after {_HANGS:.0f} s"
    except BaseException as error:
        return "raw", f"{type(error).__name__}: {error}"
    return "accepted", note if isinstance(note, str) else ""


class _Hangs(BaseException):
    """The trial took too long."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise _Hangs

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
