"""What a scorer measures on tasks without single blocks, kept item by item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from layersig.errors import UserError
from layersig.evaluating.items import TaskScores, floor_outcomes
from layersig.evaluating.loading import ResolvedTask
from layersig.evaluating.stage import FLOORS, RESPONSES
from layersig.evaluating.summary import means
from layersig.jsonform import dumps, jsonl
from layersig.recipe.metrics import primary_of
from layersig.records import Outcome
from layersig.store.files import write_atomic


def score_of(task: str, scored: TaskScores) -> float:
    """The one score by which a task selects: that on which arms are judged, see `primary_of`.

    Raises:
        UserError: It measures a loss, or has no metric that is a mean of items.
    """
    found = means(scored.outcomes)
    metric = primary_of(found)
    if metric is None or metric == "loss":
        has = "measures a loss" if metric else "has no metric that is a mean of items"
        raise UserError(f"task {task} {has} and cannot select; take one with a score of every item")
    return found[metric]


class KeptEvaluation:
    """One evaluation on disk: `items.jsonl`, `responses.jsonl`, `floors.jsonl` and, written last, `results.json`.

    Args:
        folder: Where it belongs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outcomes: list[Outcome] = []
        self._responses: list[Mapping[str, Any]] = []
        self._floors: list[Outcome] = []
        self._summary: dict[str, Any] = {}

    def add(self, scored: TaskScores, task: ResolvedTask, floor_of: LM | None) -> None:
        """Add a task; its floor is measured on `floor_of` where that is given."""
        self._outcomes += scored.outcomes
        self._responses += ({**line, **ended} for line, ended in zip(scored.responses, scored.endings, strict=True))
        for label, entry in scored.summary.items():
            self._summary[label] = {**entry, "incidents": scored.incidents[label].to_json()}
        if floor_of is not None:
            self._floors += floor_outcomes(task, floor_of, scored)

    def write(self, scores: Mapping[str, float]) -> None:
        """Write everything that was added."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._responses:
            write_atomic(self._folder / RESPONSES, jsonl(self._responses))
        if self._floors:
            write_atomic(self._folder / FLOORS, jsonl([each.to_json() for each in self._floors]))
        write_atomic(self._folder / "items.jsonl", jsonl([each.to_json() for each in self._outcomes]))
        write_atomic(self._folder / "results.json", dumps({"scores": scores, "tasks": self._summary}, indent=1) + "\n")
