"""The tracker: a recipe is a project, a run a group, and every training a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trackio

_SHOWN = ("loss", "lr", "gradient_norm", "tokens", "seconds")


class Trackio:
    """See `layersig.plugin.tracking.Tracker`."""

    def start(self, name: str, run: str, config: Mapping[str, Any]) -> None:
        """Remember what the trainings belong to."""
        self._project, self._group, self._config = name, run, dict(config)

    def training(self, cell: str, steps: Sequence[Mapping[str, Any]]) -> None:
        """A run with the curves of one training."""
        self._log(cell, [(step["step"], {name: step[name] for name in _SHOWN if name in step}) for step in steps])

    def finish(self, status: str, results: Sequence[Mapping[str, Any]]) -> None:
        """A run with what every arm scores."""
        scores: dict[str, Any] = {"status": status}
        for row in results:
            place = "/".join(str(row[key]) for key in ("arm", "data", "task", "metric") if row[key] is not None)
            scores[place] = row["value"]
        self._log("results", [(0, scores)])

    def _log(self, name: str, steps: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        trackio.init(
            self._project,
            name=f"{self._group}/{name}",
            group=self._group,
            config=self._config,
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            for step, values in steps:
                trackio.log(dict(values), step=step)
        finally:
            trackio.finish()
