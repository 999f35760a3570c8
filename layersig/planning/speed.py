"""How fast this machine is: a few steps of the recipe's own trainings, measured once and kept in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from layersig.jsonform import Damaged, dumps, read_json
from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.rates import Speed
from layersig.store.cache import cache_root
from layersig.store.files import write_atomic
from layersig.store.hashing import sha256_json


class SpeedForm(TypedDict):
    """A speed as it is kept."""

    model: str
    device: str
    measured: str
    products: FiniteFloat
    by_kind: dict[str, FiniteFloat]
    stage: FiniteFloat
    start: FiniteFloat | None
    memory: FiniteFloat
    batch: FiniteFloat
    warm_up: FiniteFloat


def speed_of(facts: Facts, stages: list[Stage], *, remeasure: bool) -> tuple[Speed | None, str]:
    """The speed that a plan counts with, and where it comes from.

    One that was measured for this model, data and manner of training is kept and used again; else a few steps are run,
    if the model fits; else the speed of another model on this machine is scaled by the multiplications of a token.

    Args:
        facts: What is known of the recipe.
        stages: Stages that are left to run.
        remeasure: Measure even where a speed is kept.
    """
    if facts.model is None or facts.shapes is None:
        return None, "no speed: the model is not on this machine"
    if not remeasure and (found := kept_speed(facts, stages)) is not None:
        return found, f"speed measured {found.measured} on {found.device} with this model, and kept"
    key, data = _key(facts)
    kept, writes = _kept(), _writes(facts, stages)
    if data is None:
        return _scaled(facts, kept, "no data set could be prepared")
    if (short := _too_large(facts)) is not None:
        return _scaled(facts, kept, short)
    from layersig.planning.probe import measure

    found = measure(facts, data, writes=writes)
    _keep({**kept, key: found})
    return replace(found, how="measured"), f"speed measured now on {found.device}, in a few steps of this recipe; kept"


def kept_speed(facts: Facts, stages: list[Stage]) -> Speed | None:
    """The speed that was measured for this model, data and manner of training; None without one."""
    kept = _kept()
    found = kept.get(_key(facts)[0]) if kept else None
    if found is None or not (found.by_kind["write"] or not _writes(facts, stages)):
        return None
    return replace(found, how="kept")


def _key(facts: Facts) -> tuple[str, str | None]:
    """What a speed depends on, and the data set that it is measured with."""
    from layersig.engine.device import numerics

    recipe = facts.recipe
    data = next((each.name for each in recipe.data if facts.examples(each.name, "train") is not None), None)
    train = recipe.train.model_dump(include={"rank", "dropout", "batch_size", "micro_batch_tokens"}, mode="json")
    node = None if data is None else facts.known.nodes[f"data/{data}"].digest
    compute = recipe.model.model_dump(include={"dtype", "device", "quantization", "attention"}, mode="json")
    content = {
        "model": facts.known.sources["source/model"].digest,
        "data": node,
        "numerics": dict(numerics(recipe)),
        "train": {**train, "gradient_checkpointing": recipe.train.gradient_checkpointing},
        **compute,
    }
    return sha256_json(content), data


def _writes(facts: Facts, stages: list[Stage]) -> bool:
    """Whether a model writes text: answers, responses to train on, or what a task asks for."""
    if any(stage.kind in ("answer", "generate") for stage in stages):
        return True
    from layersig.planning.evaluation import asked_by

    tasks = [task.model_dump(mode="json", exclude={"data"}) for task in facts.recipe.evaluate.tasks]
    asked = [asked_by(facts, task, f"source/task/{number}") for number, task in enumerate(tasks)]
    return any(each is not None and each.written > 0 for each in asked)


def _too_large(facts: Facts) -> str | None:
    from layersig.planning.memory import available, gib, weights_bytes

    needed, free = 1.3 * weights_bytes(facts), available(facts)
    return None if needed <= free else f"the model takes {gib(needed)} and {gib(free)} are free"


def _scaled(facts: Facts, kept: Mapping[str, Speed], why: str) -> tuple[Speed | None, str]:
    assert facts.shapes is not None
    if not kept:
        return None, f"no speed: {why}, and none is kept of another model"
    other = max(kept.values(), key=lambda each: (each.measured, each.products))
    ratio = facts.shapes.products / other.products
    by_kind = {kind: seconds * ratio for kind, seconds in other.by_kind.items()}
    found = replace(other, by_kind=by_kind, stage=other.stage * ratio, warm_up=other.warm_up * ratio, how="scaled")
    return found, f"speed of {other.model} on {other.device} ({other.measured}), scaled by {ratio:.3g}: {why}"


def _file() -> Path:
    return cache_root() / "speeds.json"


def _kept() -> dict[str, Speed]:
    try:
        found = read_json(_file(), dict[str, SpeedForm])
    except (OSError, Damaged):  # what is damaged is measured again
        return {}
    return {key: Speed(**value) for key, value in found.items()}


def _keep(speeds: Mapping[str, Speed]) -> None:
    rows: dict[str, Any] = {}
    for key, speed in speeds.items():
        rows[key] = {name: value for name, value in asdict(speed).items() if name != "how"}
    write_atomic(_file(), dumps(rows, indent=1) + "\n")
