"""What a run folder says of a run whose process is gone."""

from __future__ import annotations

import json

import pytest
from filelock import FileLock

from layersig.errors import UserError
from layersig.store.runfolder import RunFolder, find_run
from tests.manifests import manifest
from tests.study import call

STAGES = [
    {"id": name, "kind": "tune", "cell": {}, "status": status}
    for name, status in (("tune/a", "done"), ("tune/b", "running"), ("tune/c", "waiting"), ("tune/d", "failed"))
]


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "stopped"])
def test_a_stage_does_not_run_without_a_process(capsys, tmp_path, status):
    folder = RunFolder(tmp_path / "study" / "0123456789ab")
    folder.save_manifest(manifest(status=status, stages=STAGES))
    before = (folder.path / "manifest.json").read_bytes()
    state = folder.state()
    assert state["status"] == folder.status() == ("stopped" if status == "running" else status)
    assert [stage["status"] for stage in state["stages"]] == ["done", "interrupted", "waiting", "failed"]
    code, out, _ = call(capsys, "status", "study", "--runs", tmp_path, "--json")
    shown = json.loads(out.splitlines()[-1])
    assert (code, [stage["status"] for stage in shown["stages"]]) == (0, ["done", "interrupted", "waiting", "failed"])
    _, out, _ = call(capsys, "status", "study", "--runs", tmp_path)
    assert "1 interrupted" in out
    assert "running" not in out
    assert (folder.path / "manifest.json").read_bytes() == before


def test_a_stage_runs_while_a_process_does(tmp_path):
    folder = RunFolder(tmp_path / "study" / "0123456789ab")
    folder.save_manifest(manifest(status="running", stages=STAGES))
    with FileLock(folder.path / ".lock"):
        state = folder.state()
    assert state["status"] == "running"
    assert [stage["status"] for stage in state["stages"]] == ["done", "running", "waiting", "failed"]


def test_a_name_that_looks_like_the_start_of_an_id_is_no_other_run(tmp_path):
    for name, run in (("c4", "91ab12cd34ef"), ("alpaca", "c4f00d123456"), ("alpaca", "d0f00d123456")):
        RunFolder(tmp_path / name / run).save_manifest(manifest(name=name))
    assert find_run(tmp_path, "c4/91ab12cd34ef").name == "c4/91ab12cd34ef"
    assert find_run(tmp_path, "c4f").name == "alpaca/c4f00d123456"
    with pytest.raises(UserError, match="fits several runs: c4/91ab12cd34ef, alpaca/c4f00d123456"):
        find_run(tmp_path, "c4")


@pytest.mark.parametrize("wanted", ["", " "])
def test_an_empty_name_is_no_run(capsys, tmp_path, wanted):
    folder = RunFolder(tmp_path / "study" / "0123456789ab")
    folder.save_manifest(manifest())
    with pytest.raises(UserError, match=r"^name a run: a path"):
        find_run(tmp_path, wanted)
    assert call(capsys, "rm", wanted, "--yes", "--runs", tmp_path)[0] == 2
    assert folder.path.exists()
