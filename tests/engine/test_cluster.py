"""What stages ask a Ray cluster for; what needs a cluster is in tests/e2e/test_ray.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock

from layersig.engine import cluster
from layersig.engine.cluster import Needs, Nodes, _run
from layersig.engine.execute import Executor
from layersig.engine.on_ray import OnRay, _sees
from layersig.engine.remote import Finished, Progressed, Setting, Started, Task
from layersig.errors import UserError
from layersig.pipeline import Stage
from layersig.records import Cell
from layersig.store.cache import Cache
from tests.engine.steps import Step


class Model(Step):
    computes: ClassVar[bool] = True


def test_room_for_stages() -> None:
    nodes = Nodes(({"CPU": 64.0, "GPU": 8.0, "memory": 9.0}, {"CPU": 15.0, "GPU": 2.0}, {"CPU": 4.0}))
    assert nodes.share() == 7, "the node with the fewest CPUs for a GPU counts"
    assert nodes.room(cpus=7, gpus=1) == 8 + 2
    assert nodes.room(cpus=4, gpus=0) == 16 + 3 + 1
    assert nodes.room(cpus=5, gpus=0) == 12 + 3
    assert (nodes.largest("memory"), Nodes(()).room(1, 0)) == (9.0, 0)


def test_stages_ask_for_what_they_need() -> None:
    needs = Needs(cpus=8, gpus=1, memory={"model": 5e9, "huge": 9e12})
    model, huge, light = (
        Stage(name, Cell(), kind.of(name=name, log=""), {})
        for name, kind in (("model", Model), ("huge", Model), ("light", Step))
    )
    assert needs.of(model, most=1e10) == {"num_cpus": 8, "num_gpus": 1, "memory": 5_000_000_000}
    assert needs.of(huge, most=1e10)["memory"] == 10_000_000_000, "an estimate never makes a stage impossible"
    assert needs.of(light, most=1e10) == {"num_cpus": 1, "num_gpus": 0}


def test_a_task_hands_its_messages_on_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "use_threads", lambda count: None)
    stage = Stage("nap", Cell(), Step.of(name="nap", log=str(tmp_path / "log"), seconds=0.1), {})
    executor = Executor(Cache(tmp_path / "cache", print), dict, 0, (), lambda stage: pytest.fail("ran here"))
    task = Task.of(0, stage, {}, executor.key(stage, {}))
    setting = Setting(tmp_path / "cache", dict, 0, ())
    batches = list(_run([setting], task, 1))
    started, begun, warned, ended = (message for batch in batches for message in batch)
    assert isinstance(started, Started)
    assert (begun, warned) == (Progressed("start", ("sleeping", 1, "naps"), {}), Progressed("warn", ("slept",), {}))
    assert isinstance(ended, Finished)
    assert ended.how.entry is not None
    assert ended.how.entry.about["warnings"] == ["slept"]
    assert len(batches) == 1, "messages of half a second travel together"


def test_a_node_sees_files_and_locks(tmp_path: Path) -> None:
    assert _sees(tmp_path / "absent" / "folder" / "file") == (False, False)
    path = tmp_path / "lock"
    with FileLock(path):
        assert _sees(path) == (True, True)
    path.touch()
    assert _sees(path) == (True, False)


def test_without_ray_it_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UserError, match=r"needs Ray, here and on all nodes: pip install 'layersig\[ray\]'"),
        OnRay(None, lambda *_: {}).opened([], print),
    ):
        pytest.fail("was opened")
