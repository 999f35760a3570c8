"""A driver of six short stages on the cluster of `RAY_ADDRESS`: `python -m tests.engine.ray_driver FOLDER`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console

from layersig.engine.cluster import Cluster, Needs
from layersig.engine.execute import Ended, Executor
from layersig.engine.on_ray import _joined
from layersig.engine.progress import Display
from layersig.engine.remote import Setting
from layersig.engine.together import Part, Together
from layersig.pipeline import Graph, Stage
from layersig.records import Cell
from layersig.store.cache import Cache
from tests.engine.steps import Step


class Ends:
    def __init__(self) -> None:
        self.how: dict[str, Ended] = {}

    def started(self, stage: Stage, fingerprint: str) -> None:
        pass

    def ended(self, stage: Stage, how: Ended) -> None:
        self.how[stage.id] = how


def _no_reporter(stage: Stage) -> None:
    raise AssertionError("ran here")


def main() -> None:
    """Run the stages, and print what was found in the cache."""
    root = Path(sys.argv[1])
    stages = tuple(
        Stage(f"s{number}", Cell(), Step.of(name=f"s{number}", log=str(root / "log"), seconds=1.0), {})
        for number in range(6)
    )
    ends = Ends()
    executor = Executor(Cache(root / "cache", print), dict, 0, (), _no_reporter)
    part = Part("graph", Graph({}, stages), executor, {}, ends)
    with (
        _joined(None),
        Display(Console(file=io.StringIO())) as display,
        Cluster([Setting(root / "cache", dict, 0, ())], [Needs(1, 0, {})]) as pool,
    ):
        Together([part], pool, display).run()
    assert {how.status for how in ends.how.values()} == {"done"}
    print(json.dumps({name: how.cached for name, how in ends.how.items()}))  # noqa: T201


if __name__ == "__main__":
    main()
