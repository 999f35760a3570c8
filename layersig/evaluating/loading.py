"""From an entry of `evaluate.tasks` to lm-eval tasks, and the choice of the items that are scored."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import datasets

from layersig.errors import LayersigError, UserError
from layersig.evaluating import definitions
from layersig.evaluating.checks import check_answers, check_definition, check_field
from layersig.evaluating.definitions import Config, Group, is_definition
from layersig.evaluating.local import LocalTask
from layersig.evaluating.own import own
from layersig.evaluating.rehearsal import rehearse
from layersig.evaluating.rows import Splits, declared_files, file_splits, prepared_splits
from layersig.recipe.schema import TaskSettings
from layersig.streams import Streams

OWN_SHOTS = {"mmlu": 5}
"""Few-shot examples where the benchmark's authors fixed a number that lm-eval's definition leaves open."""


class ItemText(NamedTuple):
    """What an item shows, for finding it in training data."""

    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of lm-eval and its parts that have rows to score.

    Attributes:
        name: What results call it.
        group: Its definition.
        parts: Its leaf tasks.
        subjects: Whether the parts read one data set, as subjects of one benchmark: results then hold the group alone.
            Parts of several data sets have results of their own too.
    """

    name: str
    group: Group
    parts: tuple[LocalTask, ...]
    subjects: bool


@dataclass(frozen=True)
class ResolvedTask:
    """An entry of `evaluate.tasks`, ready to be scored.

    Attributes:
        name: What results call it; `asked>used` where embedded rows stand in for the hub's.
        single: Whether the entry is one leaf task.
        parts: Its leaf tasks with rows to score, in lm-eval's order.
        pools: Groups among them that have a result of their own.
        rows: Rows in the scored splits, chosen or not.
        chat: Whether prompts, and few-shot examples before them, are turns of the model's chat template.
    """

    name: str
    single: bool
    parts: tuple[LocalTask, ...]
    pools: tuple[Pool, ...]
    rows: int
    chat: bool = False

    def pool(self, part: LocalTask) -> Pool | None:
        """The group that a part belongs to."""
        return next((pool for pool in self.pools if part in pool.parts), None)

    def subject_of(self, part: LocalTask) -> Pool | None:
        """The benchmark that a part is a subject of."""
        pool = self.pool(part)
        return pool if pool is not None and pool.subjects else None

    def own_label(self, part: LocalTask) -> str:
        """The name of a part by itself."""
        return self.name if self.single else str(part.config.task)

    def label(self, part: LocalTask) -> str:
        """The name under which results hold a part: its own, or that of the benchmark it is a subject of."""
        pool = self.subject_of(part)
        return self.own_label(part) if pool is None else pool.name

    def items(self, part: LocalTask) -> list[str]:
        """Identifiers of a part's chosen rows, unique within what `label` names."""
        return part.item_ids() if self.subject_of(part) is None else pooled_items(part)

    def texts(self) -> dict[str, list[ItemText]]:
        """What every chosen item shows, by the name of its task in results, to be sought in training data."""
        found: dict[str, list[ItemText]] = {}
        for part in self.parts:
            shown = zip(self.items(part), part.texts(), strict=True)
            found.setdefault(self.label(part), []).extend(ItemText(item, text) for item, text in shown)
        return found

    def with_parts(self, parts: Sequence[LocalTask]) -> ResolvedTask:
        """The same with fewer parts."""
        kept = [replace(pool, parts=tuple(part for part in pool.parts if part in parts)) for pool in self.pools]
        return replace(self, parts=tuple(parts), pools=tuple(pool for pool in kept if pool.parts))


def pooled_items(part: LocalTask) -> list[str]:
    """Identifiers of a part's chosen rows, unique within a group."""
    return [f"{part.config.task}/{item}" for item in part.item_ids()]


def load_task(
    settings: TaskSettings, path: Path, streams: Streams, same_items: tuple[tuple[str, str], ...] = ()
) -> ResolvedTask:
    """The lm-eval tasks of an entry of `evaluate.tasks`.

    Args:
        settings: The entry.
        path: What `resolve_task` found for it: a user's YAML file, or a folder of rows.
        streams: The recipe's root streams, without a seed: the choice of items is the same everywhere.
        same_items: Names of tasks, in pairs, that read the same rows: a limit draws the same ones.

    Raises:
        UserError: No such task, a broken definition, or missing data files.
        MachineError: A user's task reads a data set of the hub, which cannot be reached.
    """
    if is_definition(path):
        return _load(settings, path, streams, same_items)
    # Folders of rows bear their content in their name, and every arm asks for the same tasks.
    return _load_once(settings, path, streams, same_items)


def load_selection_task(
    settings: TaskSettings, path: Path, streams: Streams, shown: Collection[str], *, leak: bool = False
) -> ResolvedTask:
    """As `load_task`, with a seeded sample of the items that evaluation does not show: those to choose layers on.

    Args:
        settings: An entry like those of `evaluate.tasks`.
        path: As of `load_task`.
        streams: As of `load_task`.
        shown: The texts of all items that are evaluated; items are distinguished by what they show.
        leak: Take items that are evaluated instead, or any where none is.

    Raises:
        UserError: As `load_task`, or every item is evaluated.
    """
    task = _load(settings.model_copy(update={"limit": None}), path, streams)
    every = [(part, row, text) for part in task.parts for row, text in enumerate(part.texts())]
    pool = [(part, row) for part, row, text in every if (text in shown) is leak]
    if leak and not pool:
        pool = [(part, row) for part, row, _ in every]
    if not pool:
        raise UserError(
            f"task {task.name}: every item is evaluated, so none is left to choose layers on; set a `limit` on it in "
            "evaluate.tasks, or choose on another task"
        )
    size = min(settings.limit or len(pool), len(pool))
    drawn = streams.generator("selection-items", task.name).choice(len(pool), size=size, replace=False)
    chosen = [pool[place] for place in sorted(drawn.tolist())]
    for part in task.parts:
        part.chosen = [row for owner, row in chosen if owner is part]
    return task.with_parts([part for part in task.parts if part.chosen])


def _load(
    settings: TaskSettings, path: Path, streams: Streams, same_items: tuple[tuple[str, str], ...] = ()
) -> ResolvedTask:
    _hush()
    name = settings.source.removeprefix("pypi:")
    configs = definitions.user(path) if is_definition(path) else definitions.named(name)
    shots = OWN_SHOTS.get(name) if settings.shots is None else settings.shots
    parts = []
    for config in configs:
        splits = file_splits(config, path.parent) if is_definition(path) else prepared_splits(path, config)
        parts.append(_task(config, splits, shots, path))
    if is_definition(path):
        name = configs[0]["task"] if len(configs) == 1 else path.stem
    chosen = _choose(parts, settings.limit, streams, min(_with_the_items_of(name, same_items)))
    for part in chosen:
        check_answers(part, path)
    stands_in = settings.source == name and (path / "README.md").is_file()  # only embedded benchmarks have one
    rows = sum(len(part.scored_rows) for part in parts)
    title = f"{name}>pypi:{name}" if stands_in else name
    found = definitions.groups(path if is_definition(path) else name)
    pools = []
    for group in found:
        inside = tuple(part for part in chosen if part.config.task in group.tasks)
        sets = {config.get("dataset_path") for config in configs if config["task"] in group.tasks}
        everything = len(group.tasks) == len(configs)
        if inside:
            pools.append(Pool(title if everything else group.name, group, inside, subjects=len(sets) == 1))
    return ResolvedTask(title, len(configs) == 1 and not found, chosen, tuple(pools), rows, settings.chat)


_load_once = lru_cache(maxsize=16)(_load)


def check_user_task(path: Path) -> None:
    """Build the tasks of a user's YAML whose rows lie in files, so that mistakes show before anything is trained.

    Raises:
        UserError: As `load_task`.
    """
    _hush()
    for config in definitions.user(path):
        if declared_files(config, path.parent):
            part = _task(config, file_splits(config, path.parent), 0, path)
            check_answers(part, path)
            try:
                rehearse(part)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error


def check_fetched_task(name: str, folder: Path) -> None:
    """Build the tasks of a name from rows that were just put into a folder, and rehearse their scoring.

    Raises:
        UserError: As `load_task`, or a made-up answer cannot be scored.
    """
    _hush()
    for config in definitions.named(name):
        splits = prepared_splits(folder, config)
        if own(name, functions=False) is not None:  # a target of lm-eval's own tasks may be a text that names no field
            check_field(config, "doc_to_target", next(iter(splits.values())).column_names, f"task {name}")
        rehearse(_task(config, splits, 0, folder))


def _hush() -> None:
    """Silence lm-eval and datasets logging; layersig reports problems itself."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()


def _task(config: Config, splits: Splits, shots: int | None, path: Path) -> LocalTask:
    if is_definition(path):
        check_definition(config, next(iter(splits.values())).column_names, path)
    try:
        return LocalTask(config, splits, shots)
    except LayersigError as error:
        raise error.at(str(path)) from error
    except Exception as error:  # lm-eval reports mistakes in a task's definition with errors of every kind
        raise UserError(
            f"{path}: task {config['task']} cannot be built from its data ({type(error).__name__}: {error})"
        ) from error


def _with_the_items_of(task: str, same_items: tuple[tuple[str, str], ...]) -> set[str]:
    """A task and all that have the same items, by themselves or through others."""
    found = {task}
    while more := {name for pair in same_items if found & {*pair} for name in pair} - found:
        found |= more
    return found


def _choose(parts: Sequence[LocalTask], limit: int | None, streams: Streams, name: str) -> tuple[LocalTask, ...]:
    rows = sum(len(part.scored_rows) for part in parts)
    if limit is None or limit >= rows:
        return tuple(parts)
    chosen = sorted(streams.generator("items", name).choice(rows, size=limit, replace=False).tolist())
    first = 0
    for part in parts:
        part.chosen = [index - first for index in chosen if first <= index < first + len(part.scored_rows)]
        first += len(part.scored_rows)
    return tuple(part for part in parts if part.chosen)
