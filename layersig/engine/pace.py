"""How long a study will take yet, from the stages of it that have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from layersig.pipeline import Stage


class Pace:
    """Seconds that the stages of a study took, and what the others will take by that.

    A stage takes what stages of its kind with the same components took on average: in this run, or, until one of them
    has ended here, in the run that filled the cache, which another machine or a busy one may have done.

    Args:
        stages: All stages of the study, in order.
        cached: Seconds that each cached stage once took, by id.
    """

    def __init__(self, stages: Iterable[Stage], cached: Mapping[str, float]) -> None:
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._took: dict[tuple[str, ...], list[float]] = {}
        self._once_took: dict[tuple[str, ...], list[float]] = {}
        for stage in stages:
            if stage.id in cached:
                self._once_took.setdefault(_alike(stage), []).append(cached[stage.id])
            else:
                self._waiting[stage.id] = _alike(stage)

    def ended(self, stage: Stage, seconds: float | None) -> None:
        """A stage is done in this time; None for one that failed or was not run."""
        self._waiting.pop(stage.id, None)
        if seconds is not None:
            self._took.setdefault(_alike(stage), []).append(seconds)

    def left(self, running: str | None, elapsed: float, own: float | None = None) -> tuple[float, bool]:
        """Seconds until the last stage ends, and whether that counts every stage or is a lower bound.

        Args:
            running: Id of the stage at work.
            elapsed: Seconds that it has been at work.
            own: Its own estimate of what is left of it.
        """
        total, counted = 0.0, True
        means = {alike: fmean(took) for alike, took in (self._once_took | self._took).items()}
        for stage, alike in self._waiting.items():
            mean = means.get(alike)
            if stage == running and own is not None:
                total += own
            elif mean is None:
                counted = False
            else:
                total += max(mean - (elapsed if stage == running else 0.0), 0.0)
        return total, counted


def duration(seconds: float | None) -> str:
    """A time for people: `8.0 s`, `43 s`, `12 min`, `7.5 h`; `?` where it is not known."""
    if seconds is None:
        return "?"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{hours:.1f} h" if hours < 99.5 else f"{hours:.0f} h"


def _alike(stage: Stage) -> tuple[str, ...]:
    return stage.kind, *(component.name for component in stage.components)
