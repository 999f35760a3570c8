"""The rules that every tracker must keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from layersig.findings.rows.arms import ResultRow
from layersig.plugin.tracking import Tracker
from layersig.training.log import Step

_CONFIG: Mapping[str, Any] = {"name": "tiny", "seeds": [0], "train": {"method": "lora", "rank": 2}}


def check_tracker(target: Callable[[], Tracker]) -> None:
    """Check that a tracker accepts the calls of a run: a run that fails at once, and the same run again, complete.

    Args:
        target: The class, which is called without arguments.

    Raises:
        AssertionError: It modifies its arguments.
        Exception: What the tracker itself raises.
    """
    steps = [Step(number, 2.0 / number, 1e-3, 1.0, 40, 20, 0.1).to_json() for number in (1, 2)]
    config = copy.deepcopy(_CONFIG)
    results = [_result("base", None, 2.5), _result("ila-30", "chats", 2.0)]
    failed = target()
    failed.start("tiny", "0123456789ab", config)
    failed.finish("failed", ())
    tracker = target()
    tracker.start("tiny", "0123456789ab", config)
    for cell in ("reference/chats/seed-0", "ila-30/chats/seed-0"):
        tracker.training(cell, steps)
    tracker.finish("complete", results)
    assert config == _CONFIG, "the tracker changed the recipe that it was told"
    assert [step["step"] for step in steps] == [1, 2], "the tracker changed the steps that it was told"
    assert [row["value"] for row in results] == [2.5, 2.0], "the tracker changed the results that it was told"


def _result(arm: str, data: str | None, value: float) -> dict[str, Any]:
    row = ResultRow(
        arm=arm,
        data=data,
        task="heldout/chats",
        metric="loss",
        primary=True,
        higher_is_better=False,
        value=value,
        se=0.1,
        low=value - 0.2,
        high=value + 0.2,
        level=0.95,
        no_interval=None,
        n=4,
        clusters=None,
        strata=None,
        seeds=1,
        scope="checkpoints",
    )
    return row.model_dump()
