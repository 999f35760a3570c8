"""The first line of a run: what will be computed, on what, and how much of it is there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layersig.findings.files import model_name
from layersig.pipeline import Graph
from layersig.recipe.load import LoadedRecipe
from layersig.report.numbers import plural
from layersig.sources.source import Source


def header(
    loaded: LoadedRecipe, graph: Graph, sources: Mapping[str, Source], machine: Mapping[str, Any], cached: int
) -> str:
    """`NAME/ID · MODEL · DEVICE, DTYPE · ARMS x DATA x SEEDS · STAGES`.

    Args:
        loaded: The recipe.
        graph: Its stages.
        sources: Its sources by node.
        machine: What the manifest says of the machine; `device` and `dtype` are absent where no stage computes.
        cached: How many stages the cache holds.
    """
    recipe, count = loaded.recipe, len(graph.stages)
    arms = {stage.cell.arm for stage in graph.stages if stage.cell.arm is not None}
    design = [
        *([plural(len(arms), "arm")] if arms else []),
        plural(len(recipe.data), "data set"),
        plural(len(recipe.seeds), "seed"),
    ]
    stages = plural(count, "stage")
    todo = f"{stages}: {cached} cached, {count - cached} to run" if cached else f"{stages} to run"
    if cached == count:
        todo = f"{stages}, all cached"
    parts = (
        f"{recipe.name}/{loaded.id}",
        model_name(sources["source/model"].resolved.partition(":")[2]),
        ", ".join(str(machine[key]) for key in ("device", "dtype") if machine.get(key)),
        " x ".join(design),
        todo,
    )
    return " · ".join(part for part in parts if part)
