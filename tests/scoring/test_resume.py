"""A scorer that is killed in any pass of the model ends with the bytes of one that was not, and repeats few passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaModel

from layersig.layers import Unit
from layersig.scoring.stage import score
from layersig.stages import interval
from layersig.stages.job import Job
from tests.scoring.world import World, low_rank
from tests.tiny import tiny_batch

ONE_BY_ONE = {"micro_batch_tokens": 1}
"""Every example is a pass of its own."""
SCORERS: dict[str, dict[str, Any]] = {
    "ila": {"steps": 4, "keep_every": 2},
    "leave-one-out": {"batches": 2},
    "add-one-in": {"batches": 1},
    "update-taylor": {"batches": 3},
    "path-attribution": {"batches": 2, "nodes": 3},
    "gradient-norm": {"batches": 3, "relative": True},
    "adalora-sensitivity": {"batches": 4},
    "ablation": {"batches": 2},
    "greedy": {"batches": 1, "remove": 2},
    "layer-contribution": {"steps": 2, "validation": 0.5},
    "block-influence": {"batches": 2},
    "angular-distance": {"batches": 2},
}


BY_BLOCK = ("ablation", "greedy", "layer-contribution", "block-influence", "angular-distance")


class Killed(BaseException):
    """What a signal does to a process, in this one."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    generator = torch.Generator().manual_seed(1)
    world.write_update({layer.name: low_rank(layer.shape, 2, 1.0, generator) for layer in world.layers})
    world.write_data(tiny_batch(rows=8, length=12).tolist())
    return world


@contextmanager
def passes(deadly: int | None = None) -> Iterator[list[int]]:
    """Counts passes of the whole model, and dies in the one with this number."""
    count: list[int] = []
    own = LlamaModel.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        count.append(1)
        if len(count) == deadly:
            raise Killed
        return own(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaModel, "forward", forward)
        patch.setattr(interval, "SECONDS", 0.0)
        patch.setattr(interval, "SHARE", float("inf"))
        yield count


def _job(world: World, scorer: str, params: dict[str, Any]) -> Job:
    unit = Unit.BLOCK if scorer in BY_BLOCK else Unit.MODULE
    return world.job(scorer, params, unit=unit, **ONE_BY_ONE)


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


LONG = {
    *("leave-one-out", "add-one-in", "layer-contribution"),
    *("path-attribution", "adalora-sensitivity", "angular-distance"),
}


@pytest.mark.parametrize(
    "scorer", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SCORERS]
)
def test_killed_in_any_pass_it_ends_the_same(world: World, scorer: str) -> None:
    whole = _job(world, scorer, SCORERS[scorer])
    with passes() as every:
        score(whole)
    repeated = []
    for share in (0.3, 0.6, 0.95):
        job = _job(world, scorer, SCORERS[scorer])
        with passes(deadly=max(2, int(share * len(every)))) as before, pytest.raises(Killed):
            score(job)
        job = replace(job, cost={}, metrics=[])
        with passes() as after:
            score(job)
        assert _bytes(job.out) == _bytes(whole.out)
        assert job.cost["tokens"] == whole.cost["tokens"]
        repeated.append(len(before) + len(after) - len(every))
    # A batch of four, and the passes in which it is tried out how examples may go through the model: once, or again for
    # each of the four trainings.
    assert max(repeated) <= (16 + 2 * 4 if scorer == "layer-contribution" else 16), (repeated, len(every))
