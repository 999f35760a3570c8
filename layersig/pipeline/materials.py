"""Where a study begins: its sources, the layer map of its model, its prepared data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from layersig.pipeline.graph import Input, SourceRef, Stage
from layersig.pipeline.study import Study, checkpoint_node, selection_node, selection_tasks
from layersig.recipe.schema import DataSettings, ServerSettings
from layersig.records import Cell
from layersig.stages.kinds import Data, Generate, Layers


def sources(study: Study) -> dict[str, SourceRef]:
    """Everything from outside, by node name."""
    recipe = study.recipe
    model = recipe.model
    found = {"source/model": SourceRef("model", "model", model.source, model.fallback)}
    for data in recipe.data:
        found[f"source/data/{data.name}"] = SourceRef("data", data.name, data.source, data.fallback, data.split)
    tasks = {f"source/task/{number}": (task.source, task.data) for number, task in enumerate(recipe.evaluate.tasks)}
    for name in recipe.scorers:
        named = enumerate(selection_tasks(study, name))
        tasks |= {selection_node(name, number): (task["source"], task.get("data")) for number, task in named}
    for node, (task, rows) in tasks.items():
        falls_back = recipe.evaluate.fallback == "embedded" and ":" not in task and rows is None
        found[node] = SourceRef("task", task, task, f"pypi:{task}" if falls_back else None, rows=rows)
    if recipe.update is not None:
        found["source/update"] = SourceRef("update", "update", recipe.update.source)
    for arm in recipe.arms:
        if arm.checkpoint is not None:
            found[checkpoint_node(arm.name)] = SourceRef("model", arm.name, arm.checkpoint)
    for name, choice in recipe.scorers.items():
        if choice.source is not None:
            found[f"source/rankings/{name}"] = SourceRef("rankings", name, choice.source)
    for number, asked in enumerate(recipe.evaluate.conversations):
        found[f"source/questions/{number}"] = SourceRef("questions", asked.label, asked.source, None, asked.split)
    return found


def layers_stage(study: Study) -> Stage:
    """The layer map of the model, from its configuration."""
    return Stage(
        id="layers",
        cell=Cell(),
        spec=Layers.of(head=study.recipe.layers.head),
        inputs={"model": Input("source/model")},
        files={"layers.json": "layers.json"},
    )


def generate_stage(study: Study, name: str) -> Stage:
    """The untouched model's own responses to the first prompts of a data set."""
    settings = study.data(name)
    assert settings.generate is not None
    return Stage(
        id=f"generate/{name}",
        cell=Cell(data=name),
        spec=Generate.of(
            generate=settings.generate.model_dump(exclude={"endpoint"}),
            **_server(settings.generate.endpoint),
            limit=settings.limit,
            group_by=settings.group_by,
            chat_template=study.recipe.model.chat_template,
            **_fields(settings),
            **_where(settings),
            **study.reading,
        ),
        inputs={"model": Input("source/model"), "rows": Input(f"source/data/{name}")},
        files={"report.json": f"responses/{name}.json", "responses.jsonl": f"responses/{name}.jsonl"},
    )


def _server(endpoint: ServerSettings | None) -> dict[str, Any]:
    """Who writes the responses, where it is a server, and how it is asked."""
    if endpoint is None:
        return {}
    asking = {"key_env", "timeout", "concurrency"}
    return {"server": endpoint.model_dump(exclude=asking), "asking": endpoint.model_dump(include=asking)}


def _fields(settings: DataSettings) -> dict[str, Any]:
    """Names of fields, where the recipe gives some."""
    if settings.fields is None:
        return {}
    return {"fields": settings.fields.model_dump(mode="json", exclude_defaults=True)}


def _where(settings: DataSettings) -> dict[str, Any]:
    """Values by field, where rows are chosen by some."""
    values = {field: [each] if isinstance(each, str) else list(each) for field, each in settings.where.items()}
    return {"where": values} if values else {}


def data_stages(study: Study, name: str) -> Iterator[Stage]:
    """Conversations of one data set: answered anew where the recipe asks for it, then prepared."""
    if study.data(name).generate is not None:
        yield generate_stage(study, name)
    yield data_stage(study, name)


def data_stage(study: Study, name: str) -> Stage:
    """Conversations of one data set: cleaned, split, formatted, tokenised."""
    settings = study.data(name)
    outside = {"name", "source", "fallback", "split", "generate", "fields", "half", "train_limit", "where", "text"}
    params = {
        **settings.model_dump(mode="json", exclude=outside),
        **{key: value for key in ("half", "train_limit") if (value := getattr(settings, key)) is not None},
        **({} if settings.text == "natural" else {"text": settings.text}),
        **({"pairs": True} if study.pairs else {}),
        "chat_template": study.recipe.model.chat_template,
    }
    rows = Input(f"source/data/{name}")
    if settings.generate is None:
        params |= _fields(settings) | _where(settings)
    else:
        rows = Input(f"generate/{name}", "rows.jsonl")
        # The limit was on the rows that were asked, and responses keep the groups of their prompts.
        params |= {"limit": None, "group_by": "group", "fields": {"ignore": ["prompt", "sample"]}}
    return Stage(
        id=f"data/{name}",
        cell=Cell(data=name),
        spec=Data.of(**params),
        inputs={"model": Input("source/model"), "rows": rows},
        files={"report.json": f"data/{name}.json"},
    )
