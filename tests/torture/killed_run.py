"""A study that is run once unbroken, and a run of it that is killed again and again until it ends."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from layersig.store.hashing import sha256_bytes
from tests.torture.kills_studies import STUDIES
from tests.torture.lives import Death, Life, changes_of, live, pick
from tests.torture.victims import GONE, Engine

_MOST = 12
"""Kills of one run, after which it is left to end."""
_TIMED = frozenset(
    ("compute", "cost_sums", "costs", "inference", "limitations", "rigor", "time_saved", "trainings", "tuning_costs")
)
"""Tables of findings that hold measured times."""
_TIMES = frozenset({"seconds", "of_training"})
"""Columns of other tables that do."""
_UNEQUAL = frozenset({"manifest.json", "metrics.jsonl", "report.html", "report.md", "analysis.json"})
_DERIVED = (".csv", ".svg", ".lock", ".json.damaged")
_ENTRIES = "stages/??/*/stage.json"


def warm() -> None:
    """Import what a run imports, once for all that are forked."""
    from layersig.stages.kinds import SPECS

    for spec in SPECS.values():
        importlib.import_module(spec.body.partition(":")[0])
    for name in (
        "layersig.cli.run",
        "layersig.engine.recipes",
        "layersig.engine.in_process",
        "layersig.topics.analyse",
        "layersig.topics.render",
        "lm_eval.tasks",
        "peft",
        "transformers.models.llama.modeling_llama",
        *(f"layersig.scoring.{name}" for name in ("gating", "greedy", "retention", "sweep", "block_states", "kept")),
        "layersig.evaluating.memorisation",
        "altair",
        "vl_convert",
        "scipy.stats",
    ):
        importlib.import_module(name)


@dataclass(frozen=True)
class Study:
    """A study that was run to its end.

    Attributes:
        name: Its name.
        inputs: Folder of what it reads.
        arguments: How `layersig` is called.
        expected: Sha256 of its files by name, and findings.
        seconds: How long it took.
        changes: How often it changed a file.
        sizes: Bytes of the files that it wrote.
    """

    name: str
    inputs: Path
    arguments: tuple[str, ...]
    expected: dict[str, Any]
    seconds: float
    changes: int
    sizes: tuple[int, ...]

    @classmethod
    def prepared(cls, name: str, folder: Path, endpoint: str, runs: int = 2) -> Study:
        """Write a study and run it unbroken, at best twice, which must give the same."""
        inputs = folder / name
        inputs.mkdir()
        written = live(inputs, lambda: STUDIES[name](inputs, endpoint))
        assert written.code == 0, written.said
        arguments = ("run", "recipe.toml")
        found = []
        for _ in range(runs):
            copy = shutil.copytree(inputs, _run_of(inputs))
            began = time.monotonic()
            changes = changes_of(copy, partial(run_here, copy, arguments))
            seconds = time.monotonic() - began
            found.append(results(copy))
            sizes = sorted(path.stat().st_size for path in (copy / "cache").rglob("*") if path.is_file())
            shutil.rmtree(copy)
        assert found[0] == found[-1], f"{name}: two unbroken runs differ: {differing(found[0], found[-1])}"
        return cls(name, inputs, arguments, found[0], seconds, changes, tuple(sizes))


def run_here(folder: Path, arguments: tuple[str, ...]) -> None:
    """The command line in this process; state is saved after every step."""
    from layersig.cli.main import main
    from layersig.stages import interval

    os.environ["LAYERSIG_CACHE"] = str(folder / "cache")
    interval.SECONDS, interval.SHARE = 0.0, float("inf")
    main(["--debug", *arguments])


@dataclass
class KilledRun:
    """Runs of one study, each killed several times before it ends.

    Attributes:
        study: The study.
        draws: When it is killed.
        engine: What runs its stages; None for this process.
    """

    study: Study
    draws: random.Random
    engine: Engine | None = None
    _copy: Path | None = None
    _kills: int = 0
    _done: dict[str, tuple[int, int]] = field(default_factory=dict)

    def kill(self) -> str:
        """Run until it is killed, and check what is left; says how it was killed, and what was at work."""
        while True:
            if self._kills == _MOST:
                self.end()
            death = pick(self.draws, self.study.seconds, self.study.changes, self.study.sizes)
            life = self._live(death)
            if life.killed:
                self._kills += 1
                return f"{death.how}: {self._at_work()}"
            self._check(life)

    def kill_driver(self, seconds: float) -> str:
        """Kill the process that was started within so many seconds; its workers must end with it."""
        assert self.engine is not None
        life = self._live(Death("time", self.draws.uniform(0.0, seconds)))
        if not life.killed:
            self._check(life)
        return f"driver of {self.engine.name}: {self._at_work() if life.killed else 'ended before'}"

    def kill_worker(self, seconds: float) -> str:
        """Kill a worker within so many seconds after the first has started; its stage runs again, or fails."""
        engine, found = self.engine, list[int]()
        assert engine is not None

        def worker(driver: int) -> int | None:
            until = time.monotonic() + 4 * seconds
            while not engine.workers(driver) and time.monotonic() < until:
                time.sleep(0.2)
            time.sleep(self.draws.uniform(0.0, seconds))
            every = [each.pid for each in engine.workers(driver)]
            found.extend(self.draws.sample(every, 1) if every else ())
            return found[0] if found else None

        life = self._live(Death("time", 0.0, worker))
        if life.code == 0 and not life.killed:
            self._check(life)
        else:
            assert life.code == 1, f"it failed: {life.said[-2000:]}"
            assert "its worker process ended twice" in life.said, life.said[-2000:]
        return f"worker of {engine.name}: {'killed' if found else 'none was there'}"

    def end(self) -> str:
        """Let it end, and compare what it wrote."""
        self._check(self._live(None))
        return ""

    def _live(self, death: Death | None) -> Life:
        if self._copy is None:
            self._copy = shutil.copytree(self.study.inputs, _run_of(self.study.inputs))
        engine = () if self.engine is None else ("--engine", self.engine.name)
        life = live(self._copy, partial(run_here, self._copy, (*self.study.arguments, *engine)), death)
        if self.engine is not None:
            self.engine.idle(life.process)
        self._nothing_lost()
        return life

    def _check(self, life: Life) -> None:
        assert self._copy is not None
        copy, self._copy, self._kills, self._done = self._copy, None, 0, {}
        try:
            assert life.code == 0, f"it failed: {life.said[-2000:]}"
            found = results(copy)
            assert found == self.study.expected, f"it differs in {differing(found, self.study.expected)}"
        finally:
            shutil.rmtree(copy)

    def _nothing_lost(self) -> None:
        assert self._copy is not None
        cache = self._copy / "cache"
        # A cluster may begin what was handed to it before it notices that the driver is gone.
        patience = 0.0 if self.engine is None else GONE
        assert not list(cache.glob("damaged/*")), "an entry of the cache is damaged"
        for lock in [*cache.glob("locks/*.lock"), *self._copy.glob("runs/*/*/.lock")]:
            try:
                with FileLock(lock, timeout=patience):
                    pass
            except Timeout:
                raise AssertionError(f"{lock.name} is still held") from None
        found = {path.parent.name: (path.stat().st_ino, path.parent.stat().st_ino) for path in cache.glob(_ENTRIES)}
        lost = [name for name, identity in self._done.items() if found.get(name) != identity]
        assert not lost, f"finished stages are lost or were built again: {lost}"
        self._done = found

    def _at_work(self) -> str:
        """Kinds of the stages that were running."""
        assert self._copy is not None
        for path in self._copy.glob("runs/*/*/manifest.json"):
            stages = json.loads(path.read_text())["stages"]
            return ", ".join(sorted(stage["kind"] for stage in stages if stage["status"] == "running")) or "between"
        return "between"


def _run_of(inputs: Path) -> Path:
    """Where a study is run: always in the same place, which findings name."""
    return inputs.with_name(f"{inputs.name}-run")


def results(folder: Path) -> dict[str, Any]:
    """Sha256 of every file of the one run below a folder, but for measured times; and its findings."""
    (run,) = (path.parent for path in folder.glob("runs/*/*/manifest.json"))
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "complete", manifest["status"]
    assert not list(run.rglob(".*.part")), "a file that was being written is left"
    files = {
        path.relative_to(run).as_posix(): sha256_bytes(path.read_bytes())
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in _UNEQUAL and not path.name.endswith(_DERIVED)
    }
    findings = json.loads((run / "analysis.json").read_text())
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        **{name: digest for name, digest in files.items() if not name.startswith("repeat/")},
        **{f"analysis.json: {name}": _untimed(value) for name, value in findings.items() if name not in _TIMED},
        "metrics.jsonl": _untimed(steps),
        "stages": {stage["id"]: stage["fingerprint"] for stage in manifest["stages"]},
        "tokens": {stage["id"]: stage.get("tokens") for stage in manifest["stages"]},
    }


def _untimed(rows: Any) -> Any:
    """Rows of a table without what was measured by a clock; anything else as it is."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return rows
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in rows]


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of results that are not equal."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
