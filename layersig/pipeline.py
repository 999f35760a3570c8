"""Read this first: the stages of a study, in order, as a pure function of its recipe.

    recipe -> model + data -> reference training -> scores -> selection -> action (tune | graft) -> evaluation
                                                              -> overlap of the training data with what is evaluated

What `plan` prints, `status` shows, the cache is keyed by and the engine runs is the graph that `stages` returns.
Analysis and report come after it, from the files of the run folder alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from layersig.plugin.components import Component
from layersig.plugin.table import Components
from layersig.recipe.schema import Arm, Recipe
from layersig.records import Cell


class Kind(NamedTuple):
    """A kind of stage: where its function is, and a version to bump whenever its results may change."""

    function: str
    version: int


KINDS: Mapping[str, Kind] = {
    "layers": Kind("layersig.models.stages:layers", 1),
    "data": Kind("layersig.data.stage:prepare", 1),
    "reference": Kind("layersig.training.stages:reference", 1),
    "score": Kind("layersig.scoring.stage:score", 1),
    "select": Kind("layersig.selecting.stage:select", 1),
    "tune": Kind("layersig.training.stages:tune", 1),
    "graft": Kind("layersig.models.stages:graft", 1),
    "evaluate": Kind("layersig.evaluating.stage:evaluate", 1),
    "overlap": Kind("layersig.evaluating.overlap:overlap", 1),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Something from outside that the recipe names: a model, a data set, the data of a task."""

    kind: Literal["model", "data", "task"]
    name: str
    spec: str
    fallback: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """What a stage reads: the output of another stage or a source, or one folder of it."""

    node: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A JSON object of a stage's output that becomes a line of a file of the run folder, behind its labels."""

    file: str
    target: str
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """One node of the graph.

    Attributes:
        id: Unique, path-like, readable.
        kind: Key of `KINDS`.
        cell: Labels, for people.
        params: What the stage's function is told; enters the fingerprint.
        inputs: What it reads, by role.
        seed: Value of the seed axis that its random streams hang on; None for what all seeds share.
        computes: True when results depend on device, dtype and library versions.
        components: Plugin components that it calls.
        files: Where its output, or folders and files of it, go in the run folder.
        line: What it adds to a file of lines.
    """

    id: str
    kind: str
    cell: Cell
    params: Mapping[str, Any]
    inputs: Mapping[str, Input]
    seed: int | None = None
    computes: bool = True
    components: tuple[Component, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    line: Line | None = None


@dataclass(frozen=True)
class Graph:
    """Sources and stages of a recipe; every stage comes after what it reads."""

    sources: Mapping[str, Source]
    stages: tuple[Stage, ...]

    def __getitem__(self, stage: str) -> Stage:
        return next(each for each in self.stages if each.id == stage)


def stages(recipe: Recipe, known: Components) -> Graph:
    """The graph of a recipe.

    Args:
        recipe: A validated recipe.
        known: Registered scorers and policies.
    """
    builder = _Builder(recipe, known)
    return Graph(builder.sources(), tuple(_once(builder.all())))


def declaration(recipe: Recipe) -> dict[str, Any]:
    """What a recipe declares about its comparisons: all that a reader could suspect of being chosen afterwards."""
    return recipe.model_dump(mode="json", include={"analyze", "arms", "evaluate", "seeds"})


def _once(found: Iterator[Stage]) -> Iterator[Stage]:
    seen: set[str] = set()
    for stage in found:
        if stage.id not in seen:
            seen.add(stage.id)
            yield stage


class _Builder:
    """Walks the grid of a recipe in the order of the data flow."""

    def __init__(self, recipe: Recipe, known: Components) -> None:
        self.recipe = recipe
        self.known = known
        self.compute = recipe.model.model_dump(include={"dtype", "device", "quantization", "attention"}, mode="json")
        self.arms = {arm.name: arm for arm in recipe.arms}

    def sources(self) -> dict[str, Source]:
        """Everything from outside, by node name."""
        model = self.recipe.model
        found = {"source/model": Source("model", "model", model.source, model.fallback)}
        for data in self.recipe.data:
            found[f"source/data/{data.name}"] = Source("data", data.name, data.source, data.fallback, data.split)
        for number, task in enumerate(self.recipe.evaluate.tasks):
            falls_back = self.recipe.evaluate.fallback == "embedded" and ":" not in task.source
            fallback = f"pypi:{task.source}" if falls_back else None
            found[f"source/task/{number}"] = Source("task", task.source, task.source, fallback)
        return found

    def all(self) -> Iterator[Stage]:
        """Every stage; the same stage may come more than once."""
        yield self.layers()
        yield from (self.data(data.name) for data in self.recipe.data)
        for seed in self.recipe.seeds:
            for data in self.recipe.data:
                if self.trains_reference:
                    yield self.reference(data.name, seed)
        for seed in self.recipe.seeds:
            for data in self.recipe.data:
                yield from (self.score(name, data.name, seed) for name in self.recipe.scorers)
        for seed in self.recipe.seeds:
            for data in self.recipe.data:
                for arm in self.recipe.arms:
                    yield from self.selections(arm, data.name, seed)
        if not self.recipe.arms:
            return
        yield self.evaluate("base", None, None)
        for seed in self.recipe.seeds:
            for data in self.recipe.data:
                yield self.evaluate("all-layers", data.name, seed)
                for arm in self.recipe.arms:
                    yield self.act(arm, data.name, seed)
                    yield self.evaluate(arm.name, data.name, seed)
        if self.recipe.evaluate.tasks:
            yield from (self.overlap(data.name) for data in self.recipe.data)

    @property
    def trains_reference(self) -> bool:
        """Whether anything reads the reference training: an arm (through `all-layers`), or a scorer of updates."""
        reads = {"update", "checkpoints"}
        return bool(self.recipe.arms) or any(self.scorer(name).needs & reads for name in self.recipe.scorers)

    def scorer(self, name: str) -> Component:
        """The component behind a scorer of the recipe."""
        return self.known.get("scorer", self.recipe.scorers[name].kind)

    def layers(self) -> Stage:
        """The layer map of the model, from its configuration."""
        return Stage(
            id="layers",
            kind="layers",
            cell=Cell(),
            params={"head": self.recipe.layers.head},
            inputs={"model": Input("source/model")},
            computes=False,
            files={"layers.json": "layers.json"},
        )

    def data(self, name: str) -> Stage:
        """Conversations of one data set: cleaned, split, formatted, tokenised."""
        settings = next(data for data in self.recipe.data if data.name == name)
        labels = {"name", "source", "fallback", "split"}
        return Stage(
            id=f"data/{name}",
            kind="data",
            cell=Cell(data=name),
            params={
                **settings.model_dump(mode="json", exclude=labels),
                "chat_template": self.recipe.model.chat_template,
            },
            inputs={"model": Input("source/model"), "rows": Input(f"source/data/{name}")},
            computes=False,
            files={"report.json": f"data/{name}.json"},
        )

    def reference(self, data: str, seed: int) -> Stage:
        """The training of all layers, kept at its milestones and at its end."""
        checkpoints = {choice.checkpoint for choice in self.recipe.scorers.values()}
        milestones = sorted({*self.recipe.train.milestones, *checkpoints, 1.0})
        return Stage(
            id=f"reference/{data}/seed-{seed}",
            kind="reference",
            cell=Cell(arm="all-layers", data=data, seed=seed),
            params={
                "train": self.recipe.train.model_dump(mode="json", exclude={"milestones"}),
                "milestones": milestones,
                **self.compute,
            },
            inputs=self._training_inputs(data),
            seed=seed,
            files={f"at-{1.0:g}": f"adapters/all-layers/{data}/seed-{seed}"},
        )

    def score(self, name: str, data: str, seed: int) -> Stage:
        """A ranking of the layers; its cell has only the axes that the scorer depends on."""
        choice, component = self.recipe.scorers[name], self.scorer(name)
        needs = component.needs
        on_data = bool(needs - {"model"})
        on_seed = on_data or component.seeded
        on_checkpoint = bool(needs & {"update"})
        cell = Cell(
            scorer=name,
            data=data if on_data else None,
            seed=seed if on_seed else None,
            checkpoint=choice.checkpoint if on_checkpoint else None,
        )
        inputs = {"layers": Input("layers")}
        if needs:
            inputs["model"] = Input("source/model")
        if on_data:
            inputs["data"] = Input(f"data/{data}")
        if "update" in needs:
            inputs["update"] = Input(f"reference/{data}/seed-{seed}", f"at-{choice.checkpoint:g}")
        if "checkpoints" in needs:
            inputs["checkpoints"] = Input(f"reference/{data}/seed-{seed}")
        return Stage(
            id=f"score/{cell.key}",
            kind="score",
            cell=cell,
            params={
                "scorer": choice.kind,
                "params": dict(choice.params),
                "unit": self.recipe.layers.unit,
                "train": self.recipe.train.model_dump(mode="json", exclude={"milestones"}),
                **self.compute,
            }
            if needs
            else {"scorer": choice.kind, "params": dict(choice.params), "unit": self.recipe.layers.unit},
            inputs=inputs,
            seed=cell.seed,
            computes=bool(needs),
            components=(component,),
            files={"trajectory.jsonl": f"trajectories/{replace(cell, checkpoint=None).key}.jsonl"},
            line=Line("ranking.json", "scores.jsonl", self._labels(cell, "scorer", "data", "seed", "checkpoint")),
        )

    def selections(self, arm: Arm, data: str, seed: int) -> Iterator[Stage]:
        """The selection of an arm, behind the selections that it refers to."""
        policy = self.known.get("policy", arm.select.kind)
        if policy.reads_selection:
            yield from self.selections(self.arms[arm.select.params["like"]], data, seed)
        yield self.select(arm, data, seed)

    def select(self, arm: Arm, data: str, seed: int) -> Stage:
        """The layers of an arm; its cell has only the axes that the policy depends on."""
        policy = self.known.get("policy", arm.select.kind)
        inputs = {"layers": Input("layers")}
        on_data = on_seed = False
        over = [each.name for each in self.recipe.data] if policy.rankings == "some" else [data]
        for name in arm.scorers:
            for each in over:
                ranking = self.score(name, each, seed)
                inputs[f"ranking/{name}/{each}"] = Input(ranking.id)
                on_data = on_data or (ranking.cell.data is not None and policy.rankings == "one")
                on_seed = on_seed or ranking.cell.seed is not None
        if policy.reads_selection:
            like = self.select(self.arms[arm.select.params["like"]], data, seed)
            inputs["like"] = Input(like.id)
            on_data, on_seed = on_data or like.cell.data is not None, on_seed or like.cell.seed is not None
        on_seed = on_seed or policy.seeded
        cell = Cell(arm=arm.name, data=data if on_data else None, seed=seed if on_seed else None)
        return Stage(
            id=f"select/{cell.key}",
            kind="select",
            cell=cell,
            params={"policy": arm.select.kind, "params": dict(arm.select.params), "unit": self.recipe.layers.unit},
            inputs=inputs,
            seed=cell.seed,
            computes=False,
            components=(policy,),
            line=Line("selection.json", "selections.jsonl", self._labels(cell, "arm", "data", "seed")),
        )

    def act(self, arm: Arm, data: str, seed: int) -> Stage:
        """What an arm does with its selection: fine-tune it from the pretrained weights, or graft it."""
        cell = Cell(arm=arm.name, data=data, seed=seed)
        selection = Input(self.select(arm, data, seed).id)
        files = {"adapter": f"adapters/{cell.key}"}
        if arm.action == "graft":
            return Stage(
                id=f"graft/{cell.key}",
                kind="graft",
                cell=cell,
                params={},
                inputs={
                    "layers": Input("layers"),
                    "update": Input(f"reference/{data}/seed-{seed}", f"at-{1.0:g}"),
                    "selection": selection,
                },
                computes=False,
                files=files,
            )
        return Stage(
            id=f"tune/{cell.key}",
            kind="tune",
            cell=cell,
            params={
                "train": self.recipe.training_of(arm).model_dump(mode="json", exclude={"milestones"}),
                **self.compute,
            },
            inputs={**self._training_inputs(data), "selection": selection},
            seed=seed,
            files=files,
        )

    def evaluate(self, arm: str, data: str | None, seed: int | None) -> Stage:
        """Per-item outcomes of an arm on the held-out conversations and the tasks of the recipe."""
        cell = Cell(arm=arm, data=data, seed=seed)
        settings = self.recipe.evaluate
        inputs = {"model": Input("source/model")}
        if data is not None and seed is not None:
            inputs["adapter"] = (
                Input(f"reference/{data}/seed-{seed}", f"at-{1.0:g}")
                if arm == "all-layers"
                else Input(self.act(self.arms[arm], data, seed).id, "adapter")
            )
        if settings.heldout:
            inputs.update({f"data/{each.name}": Input(f"data/{each.name}") for each in self.recipe.data})
        inputs.update(self._task_inputs())
        return Stage(
            id=f"evaluate/{cell.key}",
            kind="evaluate",
            cell=cell,
            params={
                "tasks": [task.model_dump(mode="json") for task in settings.tasks],
                "batch_tokens": settings.batch_tokens,
                **self.compute,
            },
            inputs=inputs,
            files={"": f"evaluations/{cell.key}"},
        )

    def overlap(self, data: str) -> Stage:
        """What the tasks, and the held-out conversations, share with the training side of a data set."""
        settings = self.recipe.evaluate
        inputs = {"data": Input(f"data/{data}"), **self._task_inputs()}
        if settings.heldout:
            inputs["model"] = Input("source/model")
        return Stage(
            id=f"overlap/{data}",
            kind="overlap",
            cell=Cell(data=data),
            params={"tasks": [task.model_dump(mode="json") for task in settings.tasks]},
            inputs=inputs,
            computes=False,
            files={"overlap.json": f"overlap/{data}.json"},
        )

    def _task_inputs(self) -> dict[str, Input]:
        return {f"task/{number}": Input(f"source/task/{number}") for number in range(len(self.recipe.evaluate.tasks))}

    def _training_inputs(self, data: str) -> dict[str, Input]:
        return {"model": Input("source/model"), "layers": Input("layers"), "data": Input(f"data/{data}")}

    def _labels(self, cell: Cell, *names: str) -> dict[str, Any]:
        return {name: getattr(cell, name) for name in names}
