"""Allocations that fail anywhere in a study: it ends with the results of an unbroken one, or without the failed arm."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from layersig.engine.runner import InProcess
from layersig.stages.job import Job
from layersig.stages.spec import ModelSpec, StageSpec
from tests.e2e.world import Run, World
from tests.study import WRITTEN, write_study

ALL_KINDS = (
    'model.dtype="float64"',  # so that rounding is told from anything else
    "seeds=[0]",
    'scorers.gradient={kind="gradient-norm"}',
    'scorers.attribution={kind="update-taylor"}',
    'evaluate.tasks=["file:choice.yaml","file:written.yaml"]',
)


class Allocations(TorchDispatchMode):
    """Counts operations on floating-point tensors, and lets those of the given numbers fail for want of memory."""

    def __init__(self, failing: Collection[int]) -> None:
        super().__init__()
        self.count = self.failed = 0
        self._failing = frozenset(failing)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(isinstance(each, torch.Tensor) and each.is_floating_point() for each in args):
            self.count += 1
            if self.count in self._failing:
                self.failed += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return func(*args, **(kwargs or {}))


@contextmanager
def allocations(failing: Collection[int] = ()) -> Iterator[Allocations]:
    """Within this context the operations of every stage that runs a model are counted, and some of them fail."""
    mode, run = Allocations(failing), InProcess.run

    def watched(self: InProcess, job: Job[StageSpec]) -> None:
        if not isinstance(job.spec, ModelSpec):
            run(self, job)
            return
        with mode:
            run(self, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcess, "run", watched)
        yield mode


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("memory")
    world = World(base, write_study(base))
    (base / "written.yaml").write_text(WRITTEN)
    return world


def results(run: Run) -> dict[str, Any]:
    """Numbers of every stage that is done, by name of the file or row."""
    found: dict[str, Any] = {}
    for row in run.lines("scores.jsonl"):
        found |= {f"{row['cell']} {layer}": score for layer, score in row["scores"].items()}
    for path in sorted((run.path / "adapters").rglob("adapter_model.safetensors")):
        name = path.relative_to(run.path).as_posix()
        found |= {f"{name} {key}": value for key, value in load_file(path).items()}
    for path in sorted((run.path / "evaluations").rglob("items.jsonl")):
        name = path.relative_to(run.path).as_posix()
        rows = run.lines(name)
        found |= {f"{name} {row['task']} {row['item']} {row['metric']}": row["value"] for row in rows}
    return found


def assert_survived(run: Run, whole: Run, failures: int) -> None:
    """All stages are done, but for those that failed and what reads them; results are equal but for rounding."""
    stages = run.stages
    failed = {name for name, stage in stages.items() if stage["status"] == "failed"}
    assert len(failed) <= failures
    for name in failed:
        assert "memory" in stages[name]["error"], stages[name]["error"]
    undone = {name for name, stage in stages.items() if stage["status"] != "done"}
    for name, stage in stages.items():
        lost = any(node == each or node.startswith(f"{each}/") for node in stage["inputs"].values() for each in undone)
        assert stage["status"] == ("failed" if name in failed else "missing" if lost else "done"), name
    due = results(whole)
    for name, value in results(run).items():
        np.testing.assert_allclose(value, due[name], rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_failures_anywhere_cost_at_most_the_arm_that_they_hit(study: World, tmp_path: Path) -> None:
    with allocations() as counted:
        whole = study.run(*ALL_KINDS, "--runs", tmp_path / "whole", cache=tmp_path / "cache").run
    draws = random.Random(0)
    injected = halved = 0
    for number in range(24):
        cache, runs = tmp_path / f"cache-{number}", tmp_path / f"runs-{number}"
        with allocations(draws.sample(range(1, counted.count), 8)) as mode:
            told = study.run(*ALL_KINDS, "--runs", runs, cache=cache)
        assert told.code in (0, 1), told.err
        (path,) = (runs / "tiny").iterdir()
        run = Run(path)
        assert_survived(run, whole, mode.failed)
        injected += mode.failed
        halved += sum("halved_to" in stage for stage in run.stages.values())
        if number % 5 == 0:
            again = study.run(*ALL_KINDS, "--runs", runs, cache=cache).run
            assert_survived(again, whole, 0)
            assert results(again).keys() == results(whole).keys()
    assert injected >= 100
    assert halved >= 30, (injected, counted.count)
