"""What the builders of stages ask about a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layersig.pipeline.graph import Input
from layersig.plugin.components import BUILT_IN, Component
from layersig.plugin.table import Components
from layersig.recipe.schema import ALL_LAYERS, BASE, Arm, DataSettings, Recipe, ScorerChoice, TrainSettings
from layersig.records import Cell


@dataclass(frozen=True)
class Study:
    """A recipe and the components that it may name.

    Attributes:
        recipe: A validated recipe.
        known: Registered scorers and policies.
    """

    recipe: Recipe
    known: Components

    def grid(self) -> Iterator[tuple[str, int]]:
        """Every data set by name with every seed, seeds slowest."""
        for seed in self.recipe.seeds:
            for data in self.recipe.data:
                yield data.name, seed

    def data(self, name: str) -> DataSettings:
        """The data set of that name."""
        return next(data for data in self.recipe.data if data.name == name)

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
        return next(arm for arm in self.recipe.arms if arm.name == name)

    def evaluated(self, arm: str, data: str | None, seed: int | None) -> Cell:
        """Where an arm is measured: the untouched model and one that was made elsewhere know neither data nor seed."""
        brought = any(each.name == arm and each.checkpoint is not None for each in self.recipe.arms)
        return Cell(arm=arm) if arm == BASE or brought else Cell(arm=arm, data=data, seed=seed)

    def scorer(self, name: str) -> Component:
        """The component behind a scorer of the recipe."""
        return self.known.get("scorer", self.recipe.scorers[name].kind)

    def method(self, settings: TrainSettings) -> Component:
        """The component behind the tuning method of a training."""
        return self.known.get("method", settings.method)

    def objective(self, settings: TrainSettings) -> Component:
        """The component behind the objective of a training."""
        return self.known.get("objective", settings.objective)

    @property
    def pairs(self) -> bool:
        """Whether data sets are read as pairs of a chosen and a rejected response: where [train] learns from them."""
        return "pairs" in self.objective(self.recipe.train).reads

    def trained(self, settings: TrainSettings) -> dict[str, Any]:
        """The keys of a training that change what it does, as the parameter of its stage."""
        return settings.effective(self.method(settings), self.objective(settings))

    def tuning_components(self, settings: TrainSettings) -> tuple[Component, ...]:
        """The tuning method and the objective of a training as a part of its stage's fingerprint.

        Built-in ones of version 1 are left out, so that fingerprints from before they had versions stay valid.
        """
        return tuple(each for each in (self.method(settings), self.objective(settings)) if not _first_built_in(each))

    def objective_components(self, settings: TrainSettings) -> tuple[Component, ...]:
        """The objective alone, likewise."""
        return tuple(each for each in (self.objective(settings),) if not _first_built_in(each))

    def scored(self, choice: ScorerChoice) -> TrainSettings:
        """How a scorer trains and what its loss is: [train], with the objective of the scorer's own training."""
        tables = self.known.names("objective")
        own = {key: value for key, value in choice.train.items() if key == "objective" or key in tables}
        return self.recipe.training_of(choice.model_copy(update={"train": own})) if own else self.recipe.train

    def policy(self, arm: Arm) -> Component:
        """The component behind the policy of an arm."""
        return self.known.get("policy", arm.select.kind)

    @property
    def trains_reference(self) -> bool:
        """Whether anything reads the reference training: an arm (through `all-layers`), or a scorer of updates."""
        reads = {"update", "checkpoints"} if self.recipe.update is None else {"checkpoints"}
        if self.recipe.arms and self.recipe.analyze.baseline == ALL_LAYERS:
            return True
        asked = self.recipe.measures and not self.recipe.arms
        trains = self.recipe.evaluate.all_layers and (asked or any(arm.trains for arm in self.recipe.arms))
        grafts = any(arm.action == "graft" for arm in self.recipe.arms)
        return (
            trains
            or grafts
            or any(self.scorer(name).needs & reads for name, choice in self.recipe.scorers.items() if not choice.train)
        )

    @property
    def measures_all_layers(self) -> bool:
        """Whether the reference training is measured beside the arms."""
        return self.recipe.measures and self.recipe.evaluate.all_layers and self.trains_reference

    @property
    def update_checkpoints(self) -> set[float]:
        """The fractions of the shared reference training at which a scorer reads its update."""
        if self.recipe.update is not None:
            return set()
        scorers = self.recipe.scorers
        shared = (name for name in scorers if not scorers[name].train and "update" in self.scorer(name).needs)
        return {at for name in shared for at in scorers[name].checkpoints}

    @property
    def reads_whole_reference(self) -> bool:
        """Whether anything reads the end of the reference training.

        That is `all-layers` where it is measured, a graft of it, a scorer that reads all milestones, or a search, which
        compares trials at their ends.
        """
        grafts = any(arm.action == "graft" for arm in self.recipe.arms)
        scorers = self.recipe.scorers
        every = any("checkpoints" in self.scorer(name).needs for name in scorers if not scorers[name].train)
        return self.measures_all_layers or grafts or every or self.recipe.train.search is not None

    @property
    def compute(self) -> dict[str, Any]:
        """The parameters of every stage that runs the model."""
        model = self.recipe.model
        held = model.model_dump(include={"dtype", "device", "quantization", "attention"}, mode="json")
        # Omitted by default, so that fingerprints from before this key existed stay valid.
        return held if model.fast else {**held, "fast": False}

    @property
    def reading(self) -> dict[str, Any]:
        """The parameters of stages that only read the model, which then may be spread over several devices."""
        spread = self.recipe.model.device_map
        return {**self.compute, **({} if spread is None else {"device_map": spread})}

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks of `[evaluate]`; the rows that they read are inputs, and what is not asked for adds nothing."""
        found = [task.model_dump(mode="json", exclude={"data"}) for task in self.recipe.evaluate.tasks]
        unasked = (
            ("floor", False),
            ("chat", False),
            ("draws", None),
            ("temperature", None),
            ("top_p", 1.0),
            ("pass_at", None),
        )
        return [{key: value for key, value in task.items() if (key, value) not in unasked} for task in found]

    @property
    def tasks_without_floors(self) -> list[dict[str, Any]]:
        """The tasks as arms are evaluated on them: floors are the untouched model's."""
        return [{key: value for key, value in task.items() if key != "floor"} for task in self.tasks]

    @property
    def beside_tasks(self) -> dict[str, Any]:
        """What tasks take from elsewhere in the recipe.

        That is: whether code may run, a chat template other than `auto`, whose end of a turn ends answers also where a
        task does not ask in chats, and which tasks have the same items.
        """
        code = {"allow_code_execution": True} if self.recipe.evaluate.allow_code_execution else {}
        template = self.recipe.model.chat_template
        given = self.recipe.evaluate.tasks and template != "auto"
        return {**code, **({"chat_template": template} if given else {}), **self.same_items}

    @property
    def same_items(self) -> dict[str, Any]:
        """The tasks of which `limit` draws the same items; nothing where none is limited."""
        limited = any(task.limit is not None for task in self.recipe.evaluate.tasks)
        return {"same_items": self.recipe.analyze.same_items} if limited and self.recipe.analyze.same_items else {}

    @property
    def task_inputs(self) -> dict[str, Input]:
        """The data of every task."""
        return {f"task/{number}": Input(f"source/task/{number}") for number in range(len(self.recipe.evaluate.tasks))}

    @property
    def question_sets(self) -> list[dict[str, Any]]:
        """Names of the sets of questions, and how many to ask."""
        return [{"name": each.label, "limit": each.limit} for each in self.recipe.evaluate.conversations]

    @property
    def question_inputs(self) -> dict[str, Input]:
        """The questions of every set."""
        count = len(self.recipe.evaluate.conversations)
        return {f"questions/{number}": Input(f"source/questions/{number}") for number in range(count)}

    @property
    def train(self) -> dict[str, Any]:
        """The keys of `[train]` that change what a training does."""
        return self.trained(self.recipe.train)


def _first_built_in(component: Component) -> bool:
    return component.origin == BUILT_IN and component.version == 1


def selection_tasks(study: Study, scorer: str) -> list[dict[str, Any]]:
    """The tasks that a scorer is computed on, from its parameter `tasks`; none for scorers that need no tasks."""
    if "tasks" not in study.scorer(scorer).needs:
        return []
    return [
        task if isinstance(task, dict) else {"source": task}
        for task in study.recipe.scorers[scorer].params.get("tasks", ())
    ]


def checkpoint_node(arm: str) -> str:
    """The node of the model that an arm brings."""
    return f"source/checkpoint/{arm}"


def selection_node(scorer: str, number: int) -> str:
    """The node of the data of a selection task."""
    return f"source/selection/{scorer}/{number}"


def labels(cell: Cell, *names: str) -> Mapping[str, Any]:
    """The axes of a cell that stand in a line of the run folder."""
    return {name: getattr(cell, name) for name in names}
