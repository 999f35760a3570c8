"""Several recipes in several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from rich.console import Console

from layersig.engine.nodes import source_nodes
from layersig.engine.place import Engine
from layersig.engine.progress import Display
from layersig.engine.study import Options, Outcome, opened
from layersig.engine.together import Part, Together
from layersig.recipe.load import LoadedRecipe


def run_together(every: Sequence[LoadedRecipe], options: Options, engine: Engine, console: Console) -> list[Outcome]:
    """Run recipes in worker processes; what they share is run once.

    Args:
        every: The recipes, no two of which are equal.
        options: How to run them.
        engine: Where their stages run.
        console: Where progress is shown.

    Raises:
        LayersigError: As `in_process.run` has it, for any of the recipes; all of them stop.
        KeyboardInterrupt: All manifests then say `interrupted`; running again continues.
    """
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(Display(console))
        place = stack.enter_context(engine.opened(every, display.say))
        studies = [
            stack.enter_context(opened(loaded, options, display, device=place.device, here=place.here))
            for loaded in every
        ]
        parts = [
            Part(study.folder.name, study.graph, study.executor, source_nodes(study.sources), study.publisher)
            for study in studies
        ]
        with place.pool(studies) as workers:
            Together(parts, workers, display, reuse=options.reuse, stop_after=options.stop_after).run()
        return [study.close(part.complete) for study, part in zip(studies, parts, strict=True)]
