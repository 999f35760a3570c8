"""Finds lm-eval's definition of a task or group, its own or a user's, as one configuration per leaf task."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from layersig.errors import UserError
from layersig.evaluating import library
from layersig.evaluating.library import TaskEntry
from layersig.evaluating.own import own
from layersig.evaluating.supported import floorless, refusal_of

Config = library.Config

_GROUP_KEYS = frozenset({"group", "group_alias", "task", "aggregate_metric_list", "metadata"})
_STRUCTURE = frozenset({"tag", "group", "task_list"})


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A metric that a group takes over its tasks.

    Attributes:
        metric: Its name.
        filters: Filters it is taken of; None for all that there are.
        by_size: Whether a task weighs as many as it has items; otherwise all tasks weigh the same.
    """

    metric: str
    filters: tuple[str, ...] | None
    by_size: bool

    def covers(self, metric: str, filter_name: str) -> bool:
        """Whether it is taken of this metric behind this filter."""
        return metric == self.metric and (self.filters is None or filter_name in self.filters)


@dataclass(frozen=True, slots=True)
class Group:
    """A group that has a result of its own.

    Attributes:
        name: Its name.
        tasks: Names of all its leaf tasks, those of groups inside it too.
        aggregates: The metrics that it takes over them.
    """

    name: str
    tasks: tuple[str, ...]
    aggregates: tuple[Aggregate, ...]

    def aggregate(self, metric: str, filter_name: str) -> Aggregate | None:
        """How the group takes a metric over its tasks; None where it does not."""
        return next((each for each in self.aggregates if each.covers(metric, filter_name)), None)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf task and the groups around it, the outermost first."""

    config: Config
    around: tuple[tuple[str, Any], ...]


def is_definition(path: Path) -> bool:
    """Whether a task's path is a user's YAML file, not a folder of rows."""
    return path.suffix in {".yaml", ".yml"}


def named(name: str, *, functions: bool = True) -> tuple[Config, ...]:
    """The leaf tasks of the task, group or tag `name`, groups in their order: ours (see `own`), else lm-eval's.

    Args:
        name: As lm-eval lists it.
        functions: Import what `!function` names; otherwise leave its path, so that the configuration is plain data.

    Raises:
        UserError: lm-eval has no such task, its functions cannot be imported, or it is of a kind that is not supported.
    """
    return tuple(leaf.config for leaf in _named(name, functions))


def check(source: str, base: Path, *, fetched: bool = True, floor: bool = False, drawn: bool = False) -> None:
    """Refuse an entry of `evaluate.tasks` that cannot be evaluated. Looks at no rows and does not import lm-eval.

    Args:
        source: lm-eval's name, `pypi:NAME`, or `file:X.yaml`.
        base: Folder that `file:` starts from.
        fetched: Whether its rows come from where the definition says.
        floor: Whether its floor is asked for.
        drawn: Whether its answers are to be drawn.

    Raises:
        UserError: As `named`, `user` and `groups`; or the rows cannot be fetched, there is no floor, or answers cannot
            be drawn.
    """
    scheme, _, name = source.rpartition(":")
    if scheme not in ("", "pypi", "file"):
        raise UserError(f"evaluate.tasks: {source!r} is not a task; write lm-eval's name, pypi:NAME or file:X.yaml")
    path = (base / name).resolve()
    if scheme == "file" and not is_definition(path):
        raise UserError(f"evaluate.tasks: {source!r} is not an lm-eval task; its name must end in .yaml")
    if scheme == "pypi":
        from layersig.sources.embedded import known_benchmark

        known_benchmark(name)
    groups(path if scheme == "file" else name)
    for leaf in _user(path, False) if scheme == "file" else _named(name, False):
        reason = refusal_of(leaf.config, fetched=fetched and scheme != "pypi")
        if floor and reason is None:
            reason = floorless(leaf.config)
        if reason is not None:
            raise UserError(f"evaluate.tasks: the task {leaf.config['task']} {reason}")
        if drawn:
            check_written(leaf.config)


def check_apart(tasks: Iterable[tuple[str, Path]]) -> None:
    """Refuse entries of `evaluate.tasks` that give results of one name, of which only one could be held.

    Args:
        tasks: Their sources, each with the path of its YAML file where it is the user's own.

    Raises:
        UserError: It names the two; or as `named`, `user` and `groups`.
    """
    seen: dict[str, str] = {}
    for source, path in tasks:
        for name in _results(path if is_definition(path) else source.removeprefix("pypi:")):
            if name in seen:
                raise UserError(
                    f"{seen[name]} and {source} both give results of the task {name}; remove one of "
                    "them, or give a task of your own another name (`task:`)"
                )
            seen[name] = source


def _results(task: str | Path) -> set[str]:
    """Names under which results hold a task by name, or that of a user's YAML file; see `Measures`."""
    leaves = _user(task, False) if isinstance(task, Path) else _named(task, False)
    configs: dict[str, Config] = {leaf.config["task"]: leaf.config for leaf in leaves}
    found = set(configs)
    for group in groups(task):
        members = [configs[name] for name in group.tasks]
        if len({config.get("dataset_path") for config in members}) == 1:
            taken = {each.metric for each in group.aggregates}
            found -= {config["task"] for config in members if _metrics(config) <= taken}
        whole = task.stem if isinstance(task, Path) else task
        found.add(whole if len(members) == len(configs) else group.name)
    return found


def _metrics(config: Config) -> set[str]:
    listed = config.get("metric_list") or ()
    return {str(entry.get("metric")).rpartition(".")[2] for entry in listed if isinstance(entry, Mapping)}


def check_written(config: Config) -> None:
    """Refuse draws for a task in which the model does not write, or that asks for several answers itself.

    Raises:
        UserError: It is answered by choice, scores given texts, or puts several answers to an item together.
    """
    kind = config.get("output_type", "generate_until")
    if kind != "generate_until":
        raise UserError(
            f"evaluate.tasks: the task {config['task']} is {kind}, and `draws` are for tasks in which the model writes "
            "(generate_until); leave them out"
        )
    if (config.get("repeats") or 1) > 1:
        raise UserError(
            f"evaluate.tasks: the task {config['task']} asks for {config['repeats']} answers to every item itself "
            "(`repeats`), which in a draw would all be the same one; set `repeats: 1` in a task of your own "
            "(file:X.yaml), or leave `draws` out"
        )


def user(path: Path, *, functions: bool = True) -> tuple[Config, ...]:
    """The leaf tasks of a user's YAML file; a group's members are files of the same folder.

    Raises:
        UserError: The file is missing, is not YAML, or does not define a task.
    """
    return tuple(leaf.config for leaf in _user(path, functions))


def files_of(path: Path) -> set[Path]:
    """The YAML files that a user's file of a task or a group is made of: what it includes, and its members."""
    found = {path, *library.included(path)}
    if isinstance(library.read(path).get("group"), str):
        # A member is found by its name among all the files of the folder.
        for entry in library.index_of(path.parent).values():
            if entry.path is not None:
                found |= {entry.path, *library.included(entry.path)}
    return found


def groups(task: str | Path) -> tuple[Group, ...]:
    """The groups of a task by name, or of a user's YAML file, that have a result of their own.

    Of nested groups the outermost counts: lm-eval takes its metrics over leaf tasks, whatever lies between.

    Raises:
        UserError: As `named` and `user`; or a group aggregates by something else than a mean.
    """
    leaves = _user(task, False) if isinstance(task, Path) else _named(task, False)
    found: dict[str, tuple[list[str], Any]] = {}
    for leaf in leaves:
        outermost = next(((name, listed) for name, listed in leaf.around if listed), None)
        if outermost is not None:
            found.setdefault(outermost[0], ([], outermost[1]))[0].append(leaf.config["task"])
    return tuple(Group(name, tuple(tasks), _aggregates(name, listed)) for name, (tasks, listed) in found.items())


def _aggregates(group: str, listed: Any) -> tuple[Aggregate, ...]:
    found = []
    for entry in [listed] if isinstance(listed, Mapping) else listed:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("metric"), str):
            raise UserError(f"group {group}: every entry of `aggregate_metric_list` needs a `metric`, got {entry!r}")
        if (said := entry.get("aggregation", "mean")) != "mean":
            raise UserError(
                f"group {group}: aggregates {entry['metric']} by {said}, but lm-eval aggregates every group by a mean; "
                "write `aggregation: mean`, or evaluate the tasks of the group one by one"
            )
        filters = entry.get("filter_list")
        if filters is not None:
            filters = (filters,) if isinstance(filters, str) else tuple(filters)
        found.append(Aggregate(entry["metric"], filters, bool(entry.get("weight_by_size", True))))
    return tuple(found)


def _named(name: str, functions: bool) -> tuple[_Leaf, ...]:
    if (config := own(name, functions=functions)) is not None:
        return (_Leaf(_clean(config), ()),)
    index = library.library()
    if name not in index:
        close = difflib.get_close_matches(name, index, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"evaluate.tasks: lm-eval has no task `{name}`{hint}")
    try:
        return _supported(_leaves(name, {}, index, functions, ()))
    except KeyError as error:
        raise UserError(
            f"evaluate.tasks: lm-eval's task `{name}` names {error}, which lm-eval does not have"
        ) from error
    except ImportError as error:
        lacks = f"the package `{error.name}`, which is not installed" if error.name else f"what is missing ({error})"
        raise UserError(
            f"evaluate.tasks: lm-eval's task `{name}` needs {lacks}; install it, or leave it out"
        ) from error
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # functions run code of every kind when they are imported
        raise UserError(
            f"evaluate.tasks: lm-eval's task `{name}` cannot be loaded here ({type(error).__name__}: {error})"
        ) from error


def _user(path: Path, functions: bool) -> tuple[_Leaf, ...]:
    try:
        return _defined(path, functions)
    except RecursionError as error:
        raise UserError(f"{path}: its values are nested too deeply, or a group is a member of itself") from error


def _defined(path: Path, functions: bool) -> tuple[_Leaf, ...]:
    if not path.is_file():
        raise UserError(f"{path}: no such task file")
    try:
        config = library.read(path, functions=functions)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{line}: not valid YAML ({said})") from error
    except (ValueError, OSError, ImportError, AttributeError, SyntaxError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an lm-eval task ({error})") from error
    if isinstance(config.get("group"), str):
        index = library.index_of(path.parent)
        try:
            return _supported(_group(config["group"], config, {}, index, functions, ()), str(path))
        except KeyError as error:
            raise UserError(f"{path}: no file of this folder defines its member {error}") from error
    if not isinstance(config.get("task"), str):
        raise UserError(f"{path}: an lm-eval task needs a name: `task: my_task`")
    if "class" in config:
        raise UserError(f"{path}: tasks written in Python (`class:`) are not supported")
    return _supported([_Leaf(_clean(config), ())], str(path))


def _supported(leaves: Iterable[_Leaf], where: str = "evaluate.tasks") -> tuple[_Leaf, ...]:
    found = tuple(leaves)
    for leaf in found:
        if (reason := refusal_of(leaf.config, fetched=False)) is not None:
            raise UserError(f"{where}: the task {leaf.config['task']} {reason}")
    return found


def _leaves(
    name: str, overrides: Config, index: Mapping[str, TaskEntry], functions: bool, around: tuple[tuple[str, Any], ...]
) -> Iterator[_Leaf]:
    """Raises KeyError for a name that the index lacks."""
    entry = index[name]
    if entry.path is None:
        for member in sorted(entry.members):
            yield from _leaves(member, {k: v for k, v in overrides.items() if k != "task"}, index, functions, around)
        return
    config = library.read(entry.path, functions=functions)
    if "class" in config:
        raise UserError(
            f"evaluate.tasks: `{name}` is written in Python; only lm-eval tasks defined in YAML are supported"
        )
    if "group" in config:
        yield from _group(name, config, overrides, index, functions, around)
    else:
        yield _Leaf(_clean({**config, **overrides}), around)


def _group(
    name: str,
    config: Config,
    overrides: Config,
    index: Mapping[str, TaskEntry],
    functions: bool,
    around: tuple[tuple[str, Any], ...],
) -> Iterator[_Leaf]:
    """The leaves of a group, as lm-eval builds them: what an outer group sets wins over what an inner one sets."""
    around = (*around, (name, config.get("aggregate_metric_list")))
    below = {key: value for key, value in config.items() if key not in _GROUP_KEYS}
    below |= {key: value for key, value in overrides.items() if key not in _GROUP_KEYS}
    members = config.get("task") or ()
    for member in [members] if isinstance(members, str) else members:
        if isinstance(member, str):
            yield from _leaves(member, below, index, functions, around)
        elif isinstance(inner := member.get("group"), str):
            if inner in index:
                yield from _leaves(inner, {**below, **member}, index, functions, around)
            else:
                yield from _group(f"{name}::{inner}", member, below, index, functions, around)
        elif not isinstance(member.get("task"), str):
            raise UserError(f"evaluate.tasks: group `{name}` has a member without a `task` or a `group`: {member}")
        elif member["task"] in index:
            yield from _leaves(member["task"], {**below, **member}, index, functions, around)
        else:
            yield _Leaf(_clean({**below, **member, "task": f"{name}::{member['task']}"}), around)


def _clean(config: Config) -> Config:
    return {key: value for key, value in config.items() if key not in _STRUCTURE}
