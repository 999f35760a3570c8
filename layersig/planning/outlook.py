"""What remains of a study, in one line before it runs: from a kept speed alone, so that the start is not delayed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from layersig.engine.nodes import output_node, source_nodes
from layersig.pipeline import Graph
from layersig.planning.assumptions import assumptions
from layersig.planning.costs import costs_of, totals
from layersig.planning.facts import Facts
from layersig.planning.known import Known
from layersig.planning.speed import kept_speed
from layersig.planning.text import in_one_line
from layersig.recipe.load import LoadedRecipe
from layersig.sources.source import Source
from layersig.store.cache import StageEntry


def outlook(
    loaded: LoadedRecipe, graph: Graph, sources: Mapping[str, Source], held: Mapping[str, StageEntry], runs: Path
) -> str | None:
    """Time, memory and disk of the stages that are left; None where no speed is kept, or nothing is left.

    The items of tasks are not counted: evaluations on tasks are stages of unknown time.

    Args:
        loaded: The recipe.
        graph: Its stages.
        sources: Its sources by node.
        held: What the cache holds, by stage.
        runs: Folder of all runs.
    """
    left = [stage for stage in graph.stages if stage.id not in held and stage.computes]
    nodes = source_nodes(sources) | {name: output_node(entry) for name, entry in held.items()}
    known = Known(loaded, graph, sources, {}, nodes, frozenset(held))
    facts = Facts(known, assumptions((), loaded.recipe), counts_tasks=False)
    if not left or facts.shapes is None or (speed := kept_speed(facts, left)) is None:
        return None
    costs = costs_of(facts, graph.stages, speed)
    return in_one_line(totals(facts, costs, speed, runs))
