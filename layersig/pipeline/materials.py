"""Where a study begins: its sources, the layer map of its model, its prepared data sets."""

from __future__ import annotations

from layersig.pipeline.graph import Input, Source, Stage
from layersig.pipeline.study import Study
from layersig.records import Cell


def sources(study: Study) -> dict[str, Source]:
    """Everything from outside, by node name."""
    recipe = study.recipe
    model = recipe.model
    found = {"source/model": Source("model", "model", model.source, model.fallback)}
    for data in recipe.data:
        found[f"source/data/{data.name}"] = Source("data", data.name, data.source, data.fallback, data.split)
    for number, task in enumerate(recipe.evaluate.tasks):
        falls_back = recipe.evaluate.fallback == "embedded" and ":" not in task.source
        fallback = f"pypi:{task.source}" if falls_back else None
        found[f"source/task/{number}"] = Source("task", task.source, task.source, fallback)
    return found


def layers_stage(study: Study) -> Stage:
    """The layer map of the model, from its configuration."""
    return Stage(
        id="layers",
        kind="layers",
        cell=Cell(),
        params={"head": study.recipe.layers.head},
        inputs={"model": Input("source/model")},
        computes=False,
        files={"layers.json": "layers.json"},
    )


def data_stage(study: Study, name: str) -> Stage:
    """Conversations of one data set: cleaned, split, formatted, tokenised."""
    settings = next(data for data in study.recipe.data if data.name == name)
    outside = {"name", "source", "fallback", "split"}
    return Stage(
        id=f"data/{name}",
        kind="data",
        cell=Cell(data=name),
        params={
            **settings.model_dump(mode="json", exclude=outside),
            "chat_template": study.recipe.model.chat_template,
        },
        inputs={"model": Input("source/model"), "rows": Input(f"source/data/{name}")},
        computes=False,
        files={"report.json": f"data/{name}.json"},
    )
