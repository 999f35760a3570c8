"""The trackers of docs/tracking.md, with stand-ins for the packages that they call."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tracking.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
STEPS = [{"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 2, "loss": 1.0, "lr": 0.05}]
RESULTS = [{"arm": "top", "data": "chats", "task": "t", "metric": "acc", "value": 0.5}]


@pytest.mark.parametrize(("package", "tracker"), [("wandb", "Wandb"), ("mlflow", "MLflow")])
def test_a_tracker_of_the_page_sends_every_step_and_result(
    monkeypatch: pytest.MonkeyPatch, package: str, tracker: str
) -> None:
    stand_in = MagicMock()
    monkeypatch.setitem(sys.modules, package, stand_in)
    names: dict[str, type] = {}
    exec(next(block for block in BLOCKS if f"import {package}" in block), names)
    made = names[tracker]()
    made.start("study", "abc", {"seeds": [0]})
    made.training("top/chats/seed-0", STEPS)
    made.finish("complete", RESULTS)
    calls = [str(call) for call in stand_in.mock_calls]
    for step in STEPS:
        assert any(f"step={step['step']}" in call and f"'loss': {step['loss']}" in call for call in calls)
    assert any("top/chats/t/acc" in call and "0.5" in call for call in calls)


def test_the_hook_of_the_page_offers_a_tracker() -> None:
    names: dict[str, object] = {}
    exec(next(block for block in BLOCKS if "hookimpl" in block), names)
    hook = names["layersig_trackers"]
    assert callable(hook)
    assert hook() == {"wandb": "layersig_wandb.tracker:Wandb"}
