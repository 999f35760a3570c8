"""Several recipes in several processes on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from rich.console import Console

from layersig.distributed.launch import visible_cards
from layersig.engine.execute import source_nodes
from layersig.engine.progress import Display
from layersig.engine.study import Options, Outcome, opened
from layersig.engine.together import Part, Together
from layersig.engine.workers import Workers, environments
from layersig.errors import UserError
from layersig.recipe.load import LoadedRecipe


def run_together(every: Sequence[LoadedRecipe], options: Options, count: int, console: Console) -> list[Outcome]:
    """Run recipes in worker processes; what they share is run once.

    Args:
        every: The recipes, no two of which are equal.
        options: How to run them.
        count: Number of worker processes.
        console: Where progress is shown.

    Raises:
        LayersigError: As `study.run` has it, for any of the recipes; all of them stop.
        KeyboardInterrupt: All manifests then say `interrupted`; running again continues.
    """
    cards = visible_cards(os.environ)
    for loaded in every:
        if cards and ":" in loaded.recipe.model.device:
            raise UserError(
                f"{loaded.where('model', 'device')}: with --engine local:N every worker has a GPU of its own; "
                f"write `cuda`, and choose GPUs by CUDA_VISIBLE_DEVICES"
            )
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(_shared_threads(count))
        display = stack.enter_context(Display(console))
        studies = [stack.enter_context(opened(loaded, options, display)) for loaded in every]
        parts = [
            Part(study.folder.name, study.graph, study.executor, source_nodes(study.sources), study.publisher)
            for study in studies
        ]
        settings = [study.setting for study in studies]
        with Workers(count, settings, environments(count, threads, cards)) as workers:
            Together(parts, workers, display, reuse=options.reuse).run()
        return [study.close(part.complete) for study, part in zip(studies, parts, strict=True)]


@contextlib.contextmanager
def _shared_threads(count: int) -> Iterator[int]:
    """Within the block, torch computes with as many threads here as in each worker: fingerprints contain the number."""
    import torch

    before = torch.get_num_threads()
    share = max(1, before // count)
    torch.set_num_threads(share)
    try:
        yield share
    finally:
        torch.set_num_threads(before)
