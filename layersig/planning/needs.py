"""What main memory the stages of a run need, for an engine that chooses where each of them runs."""

from __future__ import annotations

from collections.abc import Mapping

from layersig.engine.nodes import source_nodes
from layersig.pipeline import Graph
from layersig.planning.assumptions import Assumptions
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.planning.memory import peak, weights_bytes
from layersig.planning.work import passes
from layersig.recipe.load import LoadedRecipe
from layersig.sources.source import Source

_PROCESS = 3 * 2**30
"""Bytes of Python with torch and the libraries of CUDA in main memory."""


def main_memory(loaded: LoadedRecipe, graph: Graph, sources: Mapping[str, Source], on_gpu: bool) -> Mapping[str, float]:
    """Bytes of main memory that stages need at their peak, by id; without those where it is not known.

    Args:
        loaded: The recipe.
        graph: Its stages.
        sources: Its sources.
        on_gpu: Whether they compute on a GPU: then the weights pass through main memory, and nothing else is in it.
    """
    facts = Facts(Known(loaded, graph, sources, {}, source_nodes(sources), frozenset()), Assumptions())
    if facts.shapes is None:
        return {}
    computing = [stage for stage in graph.stages if stage.computes]
    if on_gpu:
        return dict.fromkeys((stage.id for stage in computing), _PROCESS + weights_bytes(facts))
    peaks = {stage.id: peak(facts, stage, passes(facts, stage)) for stage in computing}
    return {name: size for name, size in peaks.items() if size}
