"""Reading a run folder: whatever is there, as records; what is missing is simply absent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from layersig.findings.forms import (
    DataForm,
    EvaluationForm,
    OverlapForm,
    SearchForm,
    StepForm,
    TaskForm,
    TrainingForm,
    WrittenForm,
)
from layersig.findings.outcomes import Measure
from layersig.jsonform import Damaged, Form, read_json, read_jsonl, read_rows
from layersig.layers import Group, LayerMap, LayerMapForm, Unit
from layersig.records import (
    ABLATIONS,
    Cell,
    CorpusForm,
    CorpusValue,
    Outcome,
    OutcomeForm,
    Ranking,
    ScoredForm,
    SelectedForm,
    Selection,
)
from layersig.store.runfolder import ManifestForm, RunFolder

_SEED = re.compile("seed-[0-9]{1,18}")

HELDOUT = "heldout"
"""Tasks `heldout/DATA` are the loss on the held-out conversations of a data set."""


JUDGEMENTS, PAIRS, CONVERSATIONS = "judgements", "pairs", "conversations"
"""Folders with what a judge says of single answers and of pairs of them, and with the answers."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A ranking and where it stands in the grid."""

    cell: Cell
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class Selected:
    """A selection and where it stands in the grid."""

    cell: Cell
    selection: Selection


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The loss of one optimizer step; `cell` is the label of the training."""

    cell: str
    step: int
    loss: float


def model_name(model: str) -> str:
    """What sentences call a model: a folder by its own name, since where it lies is nobody else's business."""
    place = Path(model.removeprefix("path:"))
    return place.name if place.is_absolute() else model


@dataclass(frozen=True)
class RunFiles:
    """The files of a run folder, complete or not.

    Attributes:
        path: The folder.
    """

    path: Path

    @cached_property
    def manifest(self) -> ManifestForm:
        """`manifest.json`, as things are.

        Raises:
            UserError: The folder holds no readable manifest, so that it is no run.
        """
        return RunFolder(self.path).state()

    @cached_property
    def layers(self) -> LayerMap | None:
        """`layers.json`; None when the model was never looked at."""
        path = self.path / "layers.json"
        return LayerMap.from_json(read_json(path, LayerMapForm)) if path.exists() else None

    @cached_property
    def rankings(self) -> tuple[Scored, ...]:
        """Every line of `scores.jsonl`, sorted by cell."""
        found = [Scored(self.cell(line), Ranking.from_json(line)) for line in self._lines("scores.jsonl", ScoredForm)]
        return tuple(sorted(found, key=lambda scored: _order(scored.cell)))

    @cached_property
    def model(self) -> str:
        """The model that was really used."""
        used = [source["resolved"] for source in self.manifest["sources"] if source["role"] == "model"]
        return str(used[0]).partition(":")[2] if used else "unknown model"

    @property
    def model_name(self) -> str:
        """What sentences call it."""
        return model_name(self.model)

    def label(self, data: str | None) -> str | None:
        """The label of a data set: its name, and after `>` the fallback that replaced it."""
        return self._labels.get(data, data) if data is not None else None

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        return {source["name"]: source["label"] for source in self.manifest["sources"] if source["role"] == "data"}

    @cached_property
    def selections(self) -> tuple[Selected, ...]:
        """Every line of `selections.jsonl`, sorted by cell."""
        known = self.layers.by_name if self.layers is not None else {}
        found = [
            Selected(
                self.cell(line),
                Selection(
                    tuple(line["layers"]), sum(known[name].parameters for name in line["layers"] if name in known)
                ),
            )
            for line in self._lines("selections.jsonl", SelectedForm)
        ]
        return tuple(sorted(found, key=lambda selected: _order(selected.cell)))

    @cached_property
    def data_reports(self) -> Mapping[str, DataForm]:
        """What the data stages recorded, by label of the data set."""
        return self._by_data("data", DataForm)

    @cached_property
    def generation_reports(self) -> Mapping[str, Mapping[str, Any]]:
        """What became of self-generated responses, by label of the data set."""
        return self._by_data("responses", dict[str, Any])

    @cached_property
    def overlaps(self) -> Mapping[str, Mapping[str, OverlapForm]]:
        """What each task, and the held-out side as `heldout`, shares with the training side, by label of the data."""
        return self._by_data("overlap", dict[str, OverlapForm])

    @cached_property
    def task_records(self) -> Mapping[str, TaskForm]:
        """What the first evaluation recorded of each task: shots, split, digest of the prompts."""
        for path in sorted((self.path / "evaluations").glob("**/results.json")):
            return read_json(path, EvaluationForm)["tasks"]
        return {}

    def fixed_strata(self, parts: str) -> frozenset[str]:
        """Pooled tasks whose parts are fixed: the claim is about these subjects and no others.

        Args:
            parts: `analyze.parts` of a recipe.
        """
        pooled = (name for name, record in self.task_records.items() if record.get("strata"))
        return frozenset(pooled) if parts == "fixed" else frozenset()

    @property
    def directions(self) -> Mapping[Measure, bool]:
        """Whether higher is better, as the definitions of tasks say."""
        return {
            Measure(task, metric): higher
            for task, record in self.task_records.items()
            for metric, higher in record.get("higher_is_better", {}).items()
        }

    @cached_property
    def searches(self) -> tuple[tuple[Cell, SearchForm], ...]:
        """What the search of every training found, sorted by cell."""
        return tuple((cell, read_json(path, SearchForm)) for cell, path in self._json_by_cell("searches").items())

    @cached_property
    def trainings(self) -> tuple[tuple[Cell, TrainingForm], ...]:
        """The log of every training, sorted by cell."""
        return tuple((cell, read_json(path, TrainingForm)) for cell, path in self._json_by_cell("trainings").items())

    def _json_by_cell(self, folder: str) -> Mapping[Cell, Path]:
        """The files `ARM/DATA/seed-K.json` below a folder, sorted by cell."""
        root = self.path / folder
        files = {
            self._evaluated(folder, file.relative_to(root).with_suffix("").parts): file
            for file in root.glob("*/*/*.json")  # deeper ones are of scorers with a training of their own
        }
        return {cell: files[cell] for cell in sorted(files, key=_order)}

    def _by_data(self, folder: str, form: type[Form]) -> Mapping[str, Form]:
        files = sorted((self.path / folder).glob("*.json"))
        return {self.label(file.stem) or "": read_json(file, form) for file in files}

    def corpus(self) -> Iterator[tuple[Cell, list[CorpusValue]]]:
        """The metrics of every evaluated model that are no means of items, the untouched base first."""
        for cell, path in self.by_cell("evaluations", "corpus.jsonl").items():
            yield cell, [CorpusValue.from_json(line) for line in read_rows(path, CorpusForm)]

    @cached_property
    def floors(self) -> tuple[Outcome, ...]:
        """What the untouched model scored without the items' own questions; empty where no task asks for it."""
        path = self.path / "evaluations" / "base" / "floors.jsonl"
        return tuple(map(Outcome.from_json, read_rows(path, OutcomeForm))) if path.exists() else ()

    def responses(self) -> Iterator[tuple[Cell, list[WrittenForm]]]:
        """What every evaluated model wrote, one model at a time, the untouched base first."""
        for cell, path in self.by_cell("evaluations", "responses.jsonl").items():
            yield cell, list(read_jsonl(path, WrittenForm))

    def ablations(self) -> Mapping[Cell, Mapping[str, Path]]:
        """Folders of what scorers measured on tasks without single blocks, by label of the model, by cell."""
        root, found = self.path / ABLATIONS, dict[Cell, dict[str, Path]]()
        for file in sorted(root.glob("*/**/results.json")):
            scorer, *axes, label = file.parent.relative_to(root).parts
            seed = axes.pop() if axes and _SEED.fullmatch(axes[-1]) else None
            number = None if seed is None else int(seed.removeprefix("seed-"))
            cell = Cell(scorer=scorer, data=self.label(axes[0]) if axes else None, seed=number)
            found.setdefault(cell, {})[label] = file.parent
        return {cell: found[cell] for cell in sorted(found, key=_order)}

    def groups(self, unit: Unit) -> tuple[Group, ...]:
        """What one score covers, in model order; empty without a layer map."""
        return self.layers.groups(unit) if self.layers is not None else ()

    def losses(self) -> Iterator[LossPoint]:
        """Every training step of `metrics.jsonl` that tells a loss."""
        for line in self._lines("metrics.jsonl", StepForm):
            if (loss := line.get("loss")) is not None:
                yield LossPoint(line["cell"], line["step"], loss)

    def evaluations(self) -> Iterator[tuple[Cell, list[Outcome]]]:
        """The outcomes of every evaluated model, one model at a time, the untouched base first; then what a judge says.

        A model that was judged comes a second time.
        """
        for folder in ("evaluations", JUDGEMENTS):
            yield from self._outcomes(folder)

    def by_cell(self, folder: str, name: str) -> Mapping[Cell, Path]:
        """The files of that name below a folder that has one for every model, by cell, the untouched base first."""
        root = self.path / folder
        files = {self._evaluated(folder, file.relative_to(root).parts[:-1]): file for file in root.glob(f"**/{name}")}
        return {cell: files[cell] for cell in sorted(files, key=_order)}

    def _outcomes(self, folder: str) -> Iterator[tuple[Cell, list[Outcome]]]:
        files = self.by_cell(folder, "items.jsonl")
        for cell in files:
            yield cell, [self._outcome(row) for row in read_rows(files[cell], OutcomeForm)]

    def cell(self, line: Mapping[str, Any]) -> Cell:
        """The point of the grid that a record belongs to, its data set by label."""
        data = self.label(line.get("data"))
        return Cell(line.get("arm"), line.get("scorer"), data, line.get("seed"), line.get("checkpoint"))

    def _evaluated(self, folder: str, parts: tuple[str, ...]) -> Cell:
        arm, data, seed = (*parts, None, None)[:3]
        if seed is not None and not _SEED.fullmatch(seed):
            raise Damaged(
                str(self.path.joinpath(folder, *parts)), 'the folder of a seed is called "seed-" and a number'
            )
        return Cell(arm=arm, data=self.label(data), seed=None if seed is None else int(seed.removeprefix("seed-")))

    def _outcome(self, line: OutcomeForm) -> Outcome:
        task, slash, data = line["task"].partition("/")
        if slash and task == HELDOUT:
            line["task"] = f"{HELDOUT}/{self.label(data)}"
        return Outcome.from_json(line)

    def _lines(self, name: str, form: type[Form]) -> Iterator[Form]:
        path = self.path / name
        if path.exists():
            yield from read_jsonl(path, form)


def _order(cell: Cell) -> tuple[bool, str, str, str, int, float]:
    seed = -1 if cell.seed is None else cell.seed
    return cell.arm != "base", cell.arm or "", cell.scorer or "", cell.data or "", seed, cell.checkpoint or 0.0
