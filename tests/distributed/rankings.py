"""How far the rankings of several processes agree with those of one.

    python -m tests.distributed.rankings tests/distributed/rankings.toml [KEY=VALUE]...

The recipe runs with one process, with two, and with two that split the model; Kendall's tau of every ranking with that
of one process is printed. It ends with an error where one is below 0.99.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import kendalltau

from tests.distributed.test_processes import launch

_LEAST = 0.99


def rankings(folder: Path, count: int, recipe: str, overrides: Sequence[str]) -> dict[str, dict[str, float]]:
    """Scores by layer, of every ranking of a run."""
    ran = launch(count, "layersig", "run", recipe, *overrides, "--runs", folder, "--no-cache")
    if ran.returncode:
        raise SystemExit(ran.stderr)
    (path,) = folder.glob("*/*/scores.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["cell"]: line["scores"] for line in lines}


def main(recipe: str, *overrides: str) -> None:
    """Compare."""
    with tempfile.TemporaryDirectory() as root:
        one = rankings(Path(root) / "one", 1, recipe, overrides)
        least = 1.0
        for name, more in (("two processes", ()), ("two processes, split", ("--shard",))):
            found = rankings(Path(root) / name.replace(" ", "-"), 2, recipe, (*overrides, *more))
            for label, scores in one.items():
                tau = float(kendalltau(list(scores.values()), [found[label][layer] for layer in scores]).statistic)
                least = min(least, tau)
                sys.stdout.write(f"{name}: tau {tau:.4f} {label}\n")
    if least < _LEAST:
        raise SystemExit(f"a ranking has a tau of {least:.4f}, below {_LEAST}")


if __name__ == "__main__":
    main(*sys.argv[1:])
