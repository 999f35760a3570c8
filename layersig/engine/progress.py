"""Progress on stderr: the study and the stage at work, live on a terminal and in plain lines elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from layersig.engine.execute import Ended
from layersig.engine.pace import Pace, duration
from layersig.pipeline import Stage

_SILENT = 5.0
"""Longest silence where nobody watches, in seconds: of a stage that takes long, a tenth of its time, up to a minute."""
_BAR_FROM, _NOTE_FROM = 140, 110
"""Columns of a terminal that has room for a bar, and for a note on speed and loss."""
_NUMBERS, _NOTE, _BAR = 58, 34, 22
"""Columns that the counts and times take, a note, and a bar."""


def on_stderr(*, quiet: bool = False) -> Console:
    """Where a run shows its progress: standard error, as long as anybody reads it.

    Args:
        quiet: Show nothing.
    """
    return Console(file=cast("IO[str]", _Heard(sys.stderr)), stderr=True, quiet=quiet)


class _Heard:
    """A stream that may be shut at the other end: a closed pipe or a lost terminal ends no run.

    Args:
        file: The stream.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write, or lose what nobody would read."""
        with self._lost():
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush likewise."""
        with self._lost():
            self._file.flush()

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):  # for good; what is left in buffers would fail again at the end
                with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), self._file.fileno())


class Display:
    """Shows which stage runs, how fast, how far the study is, and how long it will take.

    Args:
        console: Where to write; on anything but a terminal whole lines are written now and then.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            *_columns(console.width),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._pace: Pace | None = None
        self._places: Mapping[str, int] = {}
        self._study: TaskID | None = None
        self._lock = threading.RLock()  # the clock shows bars that a stage may be about to remove
        self._works: dict[int, _Work] = {}
        self._bars: dict[int, TaskID] = {}
        self._closing = threading.Event()
        self._clock = threading.Thread(target=self._tick_until_closed, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._progress.start()
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._clock.join()
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def phase(self, title: str) -> None:
        """Work before the first stage or after the last one begins; told of only if it takes long."""
        self._begin(_Work(title))

    def study(self, stages: Sequence[Stage], cached: Mapping[str, float]) -> None:
        """The stages begin.

        Args:
            stages: All stages, in order.
            cached: Seconds that each cached one once took, by id.
        """
        self._pace = Pace(stages, cached)
        self._places = {stage.id: number for number, stage in enumerate(stages, 1)}
        self._study = self._progress.add_task("study", total=len(stages), count="", note="", left="")

    def stage(self, stage: Stage, lane: int = 0, run: str = "", place: str = "") -> StageReporter:
        """A reporter for a stage that is about to run.

        Args:
            stage: The stage.
            lane: Stages at work at the same time have lanes of their own, each with one bar.
            run: Name of its run where several are shown.
            place: How far the study is, where stages do not run in order.
        """
        reporter = StageReporter(self, f"{run} {stage.id}".strip(), stage.id)
        if stage.id in self._places:
            place = f"{self._places[stage.id]}/{len(self._places)}"
        self.say(f"· {place} {reporter.work.name}" if place else f"· {reporter.work.name}")
        self._begin(reporter.work, lane)
        return reporter

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage is done, failed, or cannot run."""
        if self._pace is not None and self._study is not None:
            ran = how.entry is not None and not how.cached
            self._pace.ended(stage, how.entry.about["seconds"] if ran and how.entry is not None else None)
            self._progress.update(self._study, completed=self._places[stage.id])

    def clear(self, lane: int) -> None:
        """Nothing is at work in a lane any more."""
        with self._lock:
            if lane in self._works:
                del self._works[lane]
                self._progress.remove_task(self._bars.pop(lane))

    def tick(self) -> None:
        """Show the time: on a terminal in the bars, elsewhere as a line, when there has been none for too long."""
        with self._lock:
            for lane, work in self._works.items():
                if self.console.is_terminal:
                    self._show(work, self._bars[lane])
                elif time.monotonic() - work.told >= min(max(_SILENT, work.elapsed / 10), 60.0):
                    self._say_progress(work)

    def _say_progress(self, work: _Work) -> None:
        work.told = time.monotonic()
        parts = (f"{work.title} {work.count}".rstrip(), duration(work.elapsed), work.note, _left(work.left))
        study = self._study_left(work)
        self.say("·   " + " · ".join(part for part in (*parts, study and f"study {study}") if part))

    def _show(self, work: _Work, bar: TaskID) -> None:
        self._progress.update(
            bar,
            description=work.title,
            total=work.total or None,
            completed=work.done,
            count=work.count,
            note=work.note,
            left=_left(work.left),
        )
        if self._study is not None:
            stages = f"stage {self._places.get(work.stage, len(self._places))}/{len(self._places)}"
            self._progress.update(self._study, count=stages, left=self._study_left(work))

    def _begin(self, work: _Work, lane: int = 0) -> None:
        with self._lock:
            self.clear(lane)
            self._bars[lane] = self._progress.add_task(work.title, total=None, count="", note="", left="")
            self._works[lane] = work
        if self.console.is_terminal:
            self.tick()

    def _study_left(self, work: _Work) -> str:
        if self._pace is None:
            return ""
        seconds, counted = self._pace.left(work.stage, work.elapsed, work.left)
        if seconds < 1:
            return ""
        return f"{'about' if counted else 'at least'} {duration(seconds)} left"

    def _tick_until_closed(self) -> None:
        while not self._closing.wait(1.0):
            self.tick()


class _Work:
    """What is being done now, as far as it has told."""

    def __init__(self, title: str, stage: str = "") -> None:
        self.stage = stage
        self.began = self.told = time.monotonic()
        self.name = title
        self.start("", 0, "")

    def start(self, task: str, total: int, unit: str) -> None:
        """A piece of it begins."""
        self.title = f"{self.name} {task}".rstrip()
        self.total, self.unit = total, unit
        self.done = self.tokens = 0
        self.remark = ""
        self.piece = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def count(self) -> str:
        """How much of the piece is done."""
        return f"{self.done}/{self.total} {self.unit}" if self.total else ""

    @property
    def note(self) -> str:
        """Speed, and what the stage tells with its last step."""
        seconds = max(time.monotonic() - self.piece, 1e-9)
        rate = f"{self.tokens / seconds:,.0f} tokens/s" if self.tokens else ""
        return " · ".join(part for part in (rate, self.remark) if part)

    @property
    def left(self) -> float | None:
        """Seconds until the piece is done; None where it cannot be told."""
        if not self.done or not self.total:
            return None
        return (time.monotonic() - self.piece) / self.done * max(self.total - self.done, 0)


class StageReporter:
    """Tells of one stage; see `layersig.stages.job.Reporter`."""

    def __init__(self, display: Display, name: str, stage: str) -> None:
        self.warnings: list[str] = []
        self.work = _Work(name, stage)
        self._display = display

    def start(self, task: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self.work.start(task, total, unit)

    def advance(self, amount: int, *, tokens: int = 0, note: str = "") -> None:
        """Some of it is done."""
        self.work.done += amount
        self.work.tokens += tokens
        self.work.remark = note

    def warn(self, message: str) -> None:
        """Something the user should know."""
        self.warnings.append(message)
        self._display.say(f"warning: {self.work.name}: {message}")


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


def _columns(width: int) -> list[ProgressColumn]:
    """The columns that a terminal has room for; a long name is cut before any number is."""
    bar, note = width >= _BAR_FROM, width >= _NOTE_FROM
    name = max(width - _NUMBERS - _NOTE * note - _BAR * bar, 12)
    return [
        SpinnerColumn(),
        _text("description", name),
        *([BarColumn(bar_width=_BAR - 2)] if bar else []),
        _text("fields[count]"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        _text("fields[left]"),
        *([_text("fields[note]", _NOTE)] if note else []),
    ]


def _text(field: str, width: int | None = None) -> TextColumn:
    column = Column(no_wrap=True, overflow="ellipsis", max_width=width)
    return TextColumn(f"{{task.{field}}}", markup=False, table_column=column)
