"""What a user waits for besides training: start-up, a run that is cached already, the analysis."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from layersig.analysis.surrogates import interior, residuals, surrogate_test
from layersig.analysis.twoway import mean_squares, two_way_estimate
from tests.benchmarks.harness import Table, alternate
from tests.study import write_study


def _call(*arguments: str, cwd: Path | None = None) -> float:
    program = [str(Path(sys.executable).with_name("layersig")), *arguments]
    began = time.perf_counter()
    subprocess.run(program, check=True, capture_output=True, cwd=cwd)
    return time.perf_counter() - began


def _surrogates() -> None:
    rng = np.random.default_rng(0)
    blocks, types, runs = 32, 7, 9
    codes = np.arange(blocks * types + 1)
    where = interior(np.minimum(codes % types + types * (codes == blocks * types), types), codes // types)
    assert where is not None
    a, b = (residuals(rng.normal(size=(each, codes.size)), where) for each in (4, runs - 4))
    surrogate_test(a, b, np.ones((4, runs - 4), dtype=np.bool_), rng, draws=10_000)


def _intervals() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        two_way_estimate(mean_squares(rng.normal(size=(5, 14_042))))


def waits(repeats: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_study(Path(folder))
        run = ("run", str(recipe), "--runs", str(Path(folder) / "runs"))
        timings = alternate(
            {
                "`layersig --help`": lambda: _call("--help"),
                "`layersig validate`": lambda: _call("validate", str(recipe)),
                "a run that is cached already": lambda: _call(*run),
                "10,000 depth-preserving surrogates, 225 layers, 9 runs": _surrogates,
                "two-way intervals, 5 seeds x 14,042 items x 8 arms": _intervals,
            },
            repeats,
        )
    rows = [[name, f"{timing.median:.2f} s", f"{timing.spread:.0%}"] for name, timing in timings.items()]
    return Table("Waiting", "Wall time; programs with the start of the interpreter.", ["", "time", "spread"], rows)
