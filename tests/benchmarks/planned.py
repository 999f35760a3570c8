"""What `layersig plan` says of cost beside what `layersig run` takes, on the embedded model at three lengths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersig.store.cache import cache_root
from tests.benchmarks.harness import Table

LENGTHS = (96, 192, 384)
RECIPE = """\
name = "planned"
seeds = [0]

[model]
source = "pypi:smollm2-135m-instruct"

[[data]]
name = "alpaca"
source = "pypi:alpaca-gpt4-sample"
limit = 100
heldout = 40
max_tokens = {length}

[train]
rank = 16
dropout = 0.0
steps = 8
batch_size = 8
learning_rate = 5e-4
warmup_ratio = 0.1

[scorers.ila]
kind = "ila"
steps = 8
learning_rate = 0.05

[[arms]]
name = "ila-30"
scorer = "ila"
select = {{ kind = "top", fraction = 0.30 }}

[evaluate]
heldout = true

[analyze]
controls = false
resamples = 100
"""
KINDS = {
    "reference": "stage 1: all layers",
    "score": "stage 2: masks of ILA",
    "tune": "30 % of the layers",
    "evaluate": "evaluation",
}


def planned(lengths: tuple[int, ...] = LENGTHS) -> Table:
    """Planned and measured time and memory, by kind of stage."""
    rows = []
    for length in lengths:
        found = {(row["kind"], row["quantity"]): row for row in study(length)}
        for kind, title in KINDS.items():
            time, memory = found[kind, "time"], found[kind, "peak memory"]
            rows.append(
                [
                    f"{title}, {length} tokens",
                    f"{time['planned']:.1f} s",
                    f"{time['measured']:.1f} s",
                    f"{time['ratio']:.2f}",
                    f"{memory['planned'] / 2**20:,.0f} MiB",
                    f"{memory['measured'] / 2**20:,.0f} MiB",
                    f"{memory['ratio']:.2f}",
                ]
            )
    return Table(
        "Plans and what they come to",
        "SmolLM2-135M-Instruct and 60 conversations cut at so many tokens, 8 steps of 8: what `layersig plan` expects, "
        "its speed measured just before in a few steps, and what `layersig run` takes in a process of its own. Ratios "
        "are measured over planned.",
        ["", "time planned", "taken", "ratio", "peak memory planned", "taken", "ratio"],
        rows,
        [f"Other work on the machine at the end: load {os.getloadavg()[1]:.1f} over five minutes."],
    )


def study(length: int) -> list[dict[str, Any]]:
    """Rows of planned beside measured cost of a study that is planned and then run, with nothing in the cache."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        cache = base / "cache"
        cache.mkdir()
        if (sources := cache_root() / "sources").is_dir():  # downloads alone are shared
            (cache / "sources").symlink_to(sources.absolute())
        recipe = base / "planned.toml"
        recipe.write_text(RECIPE.format(length=length))
        environment = os.environ | {"LAYERSIG_CACHE": str(cache)}
        for arguments in (["fetch", str(recipe)], ["plan", str(recipe)], ["run", str(recipe), "--runs", str(base)]):
            _call(arguments, environment)
        return list(_rows(base))


def _call(arguments: list[str], environment: Mapping[str, str]) -> None:
    program = "from layersig.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def _rows(runs: Path) -> Iterator[dict[str, Any]]:
    (analysis,) = runs.glob("planned/*/analysis.json")
    yield from json.loads(analysis.read_text())["planned_costs"]
