"""One recipe in this process, one stage after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from layersig.engine.alike import AlikeFailures
from layersig.engine.execute import Ended
from layersig.engine.header import header
from layersig.engine.progress import Display
from layersig.engine.publish import Publisher
from layersig.engine.study import Options, Outcome, opened
from layersig.pipeline import Graph, Stage
from layersig.recipe.load import LoadedRecipe
from layersig.sources.source import Source
from layersig.store.cache import StageEntry

Outlook = Callable[[LoadedRecipe, Graph, Mapping[str, Source], Mapping[str, StageEntry], Path], str | None]
"""What remains of a study in one line, from its stages, its sources, what is cached, and the folder of all runs."""


def run(loaded: LoadedRecipe, options: Options, console: Console, outlook: Outlook | None = None) -> Outcome:
    """Run a recipe in this process; what its run folder and the cache hold already is kept.

    Args:
        loaded: The recipe.
        options: How to run it.
        console: Where progress is shown.
        outlook: Says what remains, before the first stage.

    Raises:
        LayersigError: The input, the machine or the network is in the way; the manifest then says `failed`.
        KeyboardInterrupt: The manifest then says `interrupted`; running again continues.
    """
    with Display(console) as display, opened(loaded, options, display) as study:
        display.phase("looking for finished stages")
        held = study.executor.held(study.graph, study.sources)
        if any(stage.computes for stage in study.graph.stages):
            study.numerics()  # for the line below: a stage is about to ask anyway
        machine = study.publisher.manifest["machine"]
        display.say(f"· {header(loaded, study.graph, study.sources, machine, len(held))}")
        if outlook and (line := outlook(loaded, study.graph, study.sources, held, options.runs)):
            display.say(f"· {line}")
        display.study(study.graph.stages, {name: entry.about["seconds"] for name, entry in held.items()})
        listeners = _Listeners(study.publisher, display, AlikeFailures(options.stop_after))
        complete = study.executor.run(study.graph, study.sources, listeners)
        display.phase("analysing and writing the report")
        return study.close(complete)


class _Listeners:
    """Both the run folder and the terminal are informed of stages, the run folder first; failures are counted."""

    def __init__(self, publisher: Publisher, display: Display, failures: AlikeFailures) -> None:
        self._publisher = publisher
        self._display = display
        self._failures = failures

    def started(self, stage: Stage, fingerprint: str) -> None:
        """A stage is about to run."""
        self._publisher.started(stage, fingerprint)

    def ended(self, stage: Stage, how: Ended) -> None:
        """A stage has ended."""
        self._publisher.ended(stage, how)
        self._display.ended(stage, how)
        self._failures.count(stage, how)
