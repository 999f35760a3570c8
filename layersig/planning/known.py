"""What of a recipe lies on this machine before it is run: its sources, its cached stages, and what costs nothing.

The stages that need no weights (the layer map, the prepared data, scores by position, selections from them) are run,
into the cache, where the study finds them: the plan then counts real tokens of real batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layersig.engine.device import numerics
from layersig.engine.execute import Ended, Executor
from layersig.engine.nodes import Node, output_node, source_nodes
from layersig.engine.sources import resolve_here
from layersig.pipeline import Graph, Stage, stages
from layersig.recipe.load import LoadedRecipe
from layersig.recipe.schema import Recipe
from layersig.sources.source import Source
from layersig.stages.job import Reporter, Silent
from layersig.store.cache import Cache, cache_root

_FREE = frozenset({"layers", "data", "score", "select"})
"""Kinds of stages that a plan runs where they do not compute with the model."""


@dataclass(frozen=True)
class Known:
    """A recipe, and what this machine already has of its sources and results.

    Attributes:
        loaded: The recipe.
        graph: Its stages.
        sources: Sources that lie here, by node.
        missing: Why the others cannot be had without fetching, by node.
        nodes: Sources and outputs of stages that lie here.
        cached: Ids of stages whose output lies here.
    """

    loaded: LoadedRecipe
    graph: Graph
    sources: Mapping[str, Source]
    missing: Mapping[str, str]
    nodes: Mapping[str, Node]
    cached: frozenset[str]

    @property
    def recipe(self) -> Recipe:
        """The recipe, every default written out."""
        return self.loaded.recipe


def known(loaded: LoadedRecipe, warn: Callable[[str], None]) -> Known:
    """Look a recipe up on this machine; nothing is fetched.

    Raises:
        UserError: A source or the data cannot be used, as a run would say.
    """
    graph = stages(loaded.recipe, loaded.components)
    sources, missing = resolve_here(graph, loaded, warn)
    nodes = source_nodes(sources)
    cached: set[str] = set()
    cache = Cache(cache_root(), warn)
    executor = Executor(cache, lambda: numerics(loaded.recipe), loaded.recipe.root_seed, (), _silent)
    for stage in graph.stages:
        if any(each.node not in nodes for each in stage.inputs.values()):
            continue
        entry = executor.find(stage, nodes)
        if entry is None and stage.kind in _FREE and not stage.computes:
            entry = executor.end(stage, nodes, _Nobody()).entry
        if entry is not None:
            nodes[stage.id] = output_node(entry)
            cached.add(stage.id)
    cache.hashes.save()
    return Known(loaded, graph, sources, missing, nodes, frozenset(cached))


class _Nobody:
    """Is informed of stages, and keeps nothing."""

    def started(self, stage: Stage, fingerprint: str) -> None:
        """Ignore."""

    def ended(self, stage: Stage, how: Ended) -> None:
        """Ignore."""


def _silent(_: Stage) -> Reporter:
    return Silent()
