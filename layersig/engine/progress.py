"""Progress on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from layersig.pipeline import Stage

_PLAIN_EVERY = 15.0  # seconds between lines where nobody watches


class Display:
    """Shows which stage runs, how fast, and how long it will take.

    Args:
        console: Where to write; on anything but a terminal whole lines are written now and then.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bars: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, stage: Stage, lane: int = 0, run: str = "") -> StageReporter:
        """A reporter for one stage.

        Args:
            stage: The stage.
            lane: Stages at work at the same time have lanes of their own, each with one bar.
            run: Name of its run where several are shown.
        """
        return StageReporter(self, f"{run} {stage.id}".strip(), lane)

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def bar(self, description: str, total: int, unit: str, lane: int = 0) -> TaskID:
        """A new bar; the one before it in its lane goes."""
        self.clear(lane)
        self._bars[lane] = self._progress.add_task(description, total=total, unit=unit, note="")
        return self._bars[lane]

    def clear(self, lane: int) -> None:
        """Remove the bar of a lane."""
        if lane in self._bars:
            self._progress.remove_task(self._bars.pop(lane))

    def move(self, bar: TaskID, amount: int, note: str) -> None:
        """Advance a bar."""
        self._progress.update(bar, advance=amount, note=note)


class StageReporter:
    """Tells of one stage; see `layersig.stages.job.Reporter`."""

    def __init__(self, display: Display, stage: str, lane: int = 0) -> None:
        self.warnings: list[str] = []
        self._display = display
        self._stage = stage
        self._lane = lane
        self._bar: TaskID | None = None
        self._total = self._done = self._tokens = 0
        self._unit = ""
        self._began = self._told = time.monotonic()
        display.say(f"· {stage}")

    def start(self, task: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self._bar = self._display.bar(f"{self._stage} {task}", total, unit, self._lane)
        self._total, self._done, self._tokens, self._unit = total, 0, 0, unit
        self._began = self._told = time.monotonic()

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        """Some of it is done."""
        self._done += amount
        self._tokens += tokens
        now = time.monotonic()
        rate = f"{self._tokens / max(now - self._began, 1e-9):,.0f} tokens/s" if self._tokens else ""
        text = " · ".join(part for part in (rate, note) if part)
        if self._bar is not None:
            self._display.move(self._bar, amount, text)
        if not self._display.console.is_terminal and now - self._told >= _PLAIN_EVERY:
            self._told = now
            left = (now - self._began) / max(self._done, 1) * (self._total - self._done)
            done = f"{self._stage} {self._done}/{self._total} {self._unit}"
            self._display.say("  " + " · ".join(part for part in (done, text, f"{left:.0f} s left") if part))

    def warn(self, message: str) -> None:
        """Something the user should know."""
        self.warnings.append(message)
        self._display.say(f"warning: {self._stage}: {message}")
