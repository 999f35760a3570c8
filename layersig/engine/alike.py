"""Ends a run in which stage after stage fails for the same reason."""

from __future__ import annotations

import re

from layersig.engine.execute import Ended
from layersig.errors import StageFailed
from layersig.pipeline import Stage


class AlikeFailures:
    """Counts the stages of a kind that fail in a row with the same error; one that is computed ends the row.

    Errors that differ only in numbers are the same.

    Args:
        most: How many end the run.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: dict[str, tuple[str, int]] = {}

    def count(self, stage: Stage, how: Ended) -> None:
        """A stage has ended.

        Raises:
            StageFailed: It is the last failure that the run may have.
        """
        if how.status == "done" and not how.cached:
            self._rows.pop(stage.kind, None)
        if how.status != "failed" or how.error is None:
            return
        error = re.sub(r"\d+", "#", how.error)
        before, number = self._rows.get(stage.kind, (error, 0))
        number = number + 1 if before == error else 1
        self._rows[stage.kind] = error, number
        if number >= self._most:
            raise StageFailed(
                f"stopped: {number} `{stage.kind}` stages in a row failed with the same error, the last of them "
                f"{stage.id}: {how.error}. Finished stages are kept; --stop-after N changes the limit."
            )
