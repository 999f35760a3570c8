"""How long `plan`, `status` and a cached run take with 2,000 stages: `python -m tests.scaling.grid [FOLDER]`.

One seed of the grid is computed. The other seeds get copies of its outputs, so that the cache is full within minutes.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from layersig.cli.main import main as layersig
from layersig.engine import runner
from layersig.stages.job import Job
from layersig.stages.spec import StageSpec
from tests.study import write_study

SEEDS, DATA, SHARES = 10, 5, (10, 20, 30, 40, 50, 60)
_CALL = "from layersig.cli.main import main; main()"


def write_grid(base: Path) -> Path:
    """A tiny study with 5 data sets, 10 seeds and 12 arms, in a folder."""
    text = write_study(base, tied=False).read_text()
    head, data, rest = text.partition("[[data]]")[0], *text.partition("[[data]]")[1:]
    data, train = data + rest.partition("[train]")[0], "[train]" + rest.partition("[train]")[2]
    train, _, evaluate = train.partition("[[arms]]")[0], *train.partition("[evaluate]")[1:]
    every = "".join(data.replace("chats", f"chats{number}") for number in range(DATA))
    rows = (base / "chats.jsonl").read_text().splitlines()
    for number in range(DATA):
        (base / f"chats{number}.jsonl").write_text("\n".join(rows[number : len(rows) - DATA + number]) + "\n")
    arms = "".join(
        f'[[arms]]\nname = "ila-{share}"\nscorer = "ila"\nselect = {{ kind = "top", fraction = 0.{share} }}\n\n'
        f'[[arms]]\nname = "random-{share}"\nselect = {{ kind = "matched-random", like = "ila-{share}" }}\n\n'
        for share in SHARES
    )
    head = head.replace("seeds = [0]", f"seeds = {list(range(SEEDS))}")
    train = train.replace("steps = 3", "steps = 1").replace("steps = 2", "steps = 1")
    recipe = base / "grid.toml"
    recipe.write_text(f"{head}{every}{train}{arms}[evaluate]{evaluate}")
    return recipe


def _copying(cache: Path, runs: Path) -> Callable[[Any, Job[StageSpec]], None]:
    """A runner that copies what the like stage of the finished run left."""
    (manifest,) = runs.glob("*/*/manifest.json")
    known: dict[tuple[Any, ...], str] = {}
    for stage in json.loads(manifest.read_text())["stages"]:
        cell = stage["cell"]
        known.setdefault((stage["kind"], cell.get("arm"), cell.get("data"), cell.get("scorer")), stage["fingerprint"])

    def run(_: Any, job: Job[StageSpec]) -> None:
        found = known[job.spec.kind, job.cell.arm, job.cell.data, job.cell.scorer]
        entry = cache / "stages" / found[:2] / found
        shutil.copytree(entry / "out", job.out, dirs_exist_ok=True)
        if job.kept is not None and (entry / "kept").exists():
            shutil.copytree(entry / "kept", job.kept, dirs_exist_ok=True)
        job.cost.update(json.loads((entry / "stage.json").read_text())["cost"])
        job.metrics.extend(json.loads(row) for row in (entry / "metrics.jsonl").read_text().splitlines())

    return run


def _called(*arguments: str) -> None:
    try:
        layersig(list(arguments))
    except SystemExit as ended:
        if ended.code != 0:
            raise


def main() -> None:
    """Fill a cache with the grid, then time the verbs."""
    base = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()).resolve()
    base.mkdir(parents=True, exist_ok=True)
    os.environ["LAYERSIG_CACHE"] = str(base / "cache")
    os.chdir(base)
    recipe = str(write_grid(base))
    _called("run", recipe, "seeds=[0]", "--runs", "one", "--json")
    gc.freeze()  # else a search of all that is imported follows every stage
    runner.InProcess.run = _copying(base / "cache", base / "one")  # type: ignore[method-assign]
    _called("run", recipe, "--json")
    verbs = (
        ["plan", recipe],
        ["status", "tiny"],
        ["run", recipe],
        ["run", recipe],
        ["run", recipe, "--engine", "local:2"],
    )
    for verb in verbs:
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", _CALL, *verb, "--json"], stdout=subprocess.DEVNULL)
        used = psutil.Process(process.pid).cpu_times()
        while process.poll() is None:
            with psutil.Process(process.pid).oneshot():
                used = psutil.Process(process.pid).cpu_times()
            time.sleep(0.05)
        took = time.monotonic() - began
        print(f"{' '.join(verb)}: {took:.1f} s, {used.user + used.system:.1f} s of a core")  # noqa: T201


if __name__ == "__main__":
    main()
