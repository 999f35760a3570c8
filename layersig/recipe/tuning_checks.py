"""What recipes must fulfil about tuning: methods that go with the model, keys that go with the method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.recipe.faults import Fault
from layersig.recipe.positions import KeyPath


def tuning_checks(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of `[train]` and of the `train` of arms that show only beside other keys."""
    quantised = _table(data, "model").get("quantization", "none") != "none"
    for path, table in _trainings(data):
        if quantised and table.get("method") == "full":
            reason = '"full" trains the weights themselves, which 4-bit ones cannot be; take "lora", or no quantization'
            yield Fault((*path, "method"), reason)


def _trainings(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """`[train]` and the `train` of every arm, with where they stand."""
    yield ("train",), _table(data, "train")
    arms = data.get("arms")
    for number, arm in enumerate(arms if isinstance(arms, list) else []):
        if isinstance(arm, dict):
            yield ("arms", number, "train"), _table(arm, "train")


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
