"""Workers on this machine as the place where the stages of recipes run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.context import BaseContext

from layersig.distributed.launch import visible_cards
from layersig.engine.device import device_of
from layersig.engine.place import Place
from layersig.engine.study import Study
from layersig.engine.template import forking, spawning
from layersig.engine.together import Pool
from layersig.engine.workers import Workers, environments
from layersig.errors import UserError
from layersig.pipeline import stages
from layersig.recipe.load import LoadedRecipe


@dataclass(frozen=True)
class Local:
    """Worker processes, each with a GPU of its own or with its share of the processor's threads.

    Attributes:
        count: How many.
    """

    count: int

    @contextlib.contextmanager
    def opened(self, every: Sequence[LoadedRecipe], say: Callable[[str], None]) -> Iterator[Place]:
        """Share the machine among the workers.

        Raises:
            UserError: A recipe names a GPU by its number.
        """
        cards = visible_cards(os.environ)
        for loaded in every:
            if cards and ":" in loaded.recipe.model.device:
                raise UserError(
                    f"{loaded.where('model', 'device')}: with --engine local:N every worker has a GPU of its own; "
                    f"write `cuda`, and choose GPUs by CUDA_VISIBLE_DEVICES"
                )
        with _shared_threads(self.count) as threads:
            context = spawning() if cards else forking(_bodies(every), threads)

            def pool(studies: Sequence[Study]) -> AbstractContextManager[Pool]:
                return _pool(studies, self.count, threads, cards, context)

            yield Place(device_of, pool, here=True)


def _pool(
    studies: Sequence[Study], count: int, threads: int, cards: Sequence[str], context: BaseContext
) -> AbstractContextManager[Pool]:
    settings = [study.setting for study in studies]
    return Workers(count, settings, environments(count, threads, cards), context)


def _bodies(every: Sequence[LoadedRecipe]) -> list[str]:
    """The modules with the bodies of all stages; every seed has the same ones."""
    ones = [loaded.recipe.model_copy(update={"seeds": loaded.recipe.seeds[:1]}) for loaded in every]
    graphs = [stages(one, loaded.components) for one, loaded in zip(ones, every, strict=True)]
    return sorted({stage.spec.body.partition(":")[0] for graph in graphs for stage in graph.stages})


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
