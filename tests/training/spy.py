"""Looks at the model around the loop of a stage."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layersig.fast.runner import Workload
from layersig.training import loop, stages
from tests.tiny import tiny_batch


class Spy:
    """Looks at the model around the loop of a stage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._train = loop.train
        monkeypatch.setattr(stages, "train", self)

    def __call__(self, work: Workload, *arguments: Any, **named: Any) -> Any:
        model, parameters = work.model, work.parameters
        before = {name: value.clone() for name, value in model.state_dict().items()}
        log = self._train(work, *arguments, **named)
        self.parameters, self.values = set(parameters), list(parameters.values())
        self.changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        self.logits = logits_of(model)
        return log


def logits_of(model: Any) -> Tensor:
    """Logits in eval mode; a training that goes on is not disturbed."""
    training = [module for module in model.modules() if module.training]
    with torch.no_grad():
        logits: Tensor = model.eval()(tiny_batch()).logits
    for module in training:
        module.training = True
    return logits
