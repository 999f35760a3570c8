"""What is said when the launcher ends a process that is just leaving a broken stage, and when a process has other code;
no process is started."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from layersig.distributed import crew
from layersig.distributed.launch import Launch
from layersig.errors import MachineError, UserError
from layersig.plugin.identity import identity
from layersig.plugin.manager import with_files
from layersig.records import Cell
from layersig.stages.job import Job
from layersig.streams import Streams
from tests.distributed.breaking import Break


class InterruptedOnce:
    """A crew of two whose process is interrupted when it says for the first time that it has failed."""

    launch = Launch(0, 2, 0)

    def __init__(self) -> None:
        self.said: list[object] = []
        self._interrupted = False

    def give(self, order: object) -> None:
        pass

    @contextmanager
    def stage(self, *, sharded: bool) -> Iterator[None]:
        yield

    def failed(self, error: BaseException) -> crew._Failure:
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        return crew._Failure(1, None)

    def report(self, failure: crew._Failure | None) -> None:
        self.said.append(failure)

    def reports(self, own: crew._Failure | None) -> list[object]:
        return [own, crew._Silence]


def job(folder: Path) -> Job[Break]:
    spec = Break.of(how="raise", rank=0, dtype="float32", device="cpu", quantization="none", attention="sdpa")
    return Job(Cell(), spec, {}, folder, folder, Streams(0))


def breaks(job: Job[Break]) -> None:
    raise RuntimeError("connection closed by peer")


def test_the_first_process_still_says_which_one_died(tmp_path: Path) -> None:
    driver = crew.Driver.__new__(crew.Driver)
    driver.sharded, driver._crew = False, InterruptedOnce()  # type: ignore[assignment]
    with pytest.raises(MachineError, match=r"process 1 of 2 .* ended without an error message"):
        driver.run(job(tmp_path), (), breaks)  # type: ignore[arg-type]


def test_another_process_never_says_that_it_ended_well(tmp_path: Path) -> None:
    told = InterruptedOnce()
    with pytest.raises(KeyboardInterrupt):
        crew._take_part(told, crew._Order((), (), b"no job", False))  # type: ignore[arg-type]
    assert told.said == [crew._Failure(1, None)]


def test_a_plugin_that_was_edited_meanwhile_is_not_run_beside_the_old_one(tmp_path: Path) -> None:
    file, scratch = tmp_path / "mine.py", tmp_path / "scratch"
    text = "from layersig import scorer\n\n@scorer('mine')\ndef mine(context):\n    return {}\n"
    file.write_text(text)
    (tmp_path / "work").mkdir()
    expected = identity(with_files([file]).get("scorer", "mine"))
    order = crew._Order([file], [("scorer", "mine", expected)], pickle.dumps(job(tmp_path / "work")), False)
    scratch.mkdir()
    assert [identity(each) for each in crew._job(order, scratch).components] == [expected]
    file.write_text(text.replace("{}", "{'x': 1.0}"))
    with pytest.raises(
        UserError, match=r'^scorer "mine" \(mine\.py\) was edited while the run was at work; run again$'
    ):
        crew._job(order, scratch)
