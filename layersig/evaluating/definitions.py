"""Finds lm-eval's definition of a task or group, its own or a user's, as one configuration per leaf task."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml  # type: ignore[import-untyped]
from lm_eval.config.group import GroupConfig
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from layersig.errors import UserError
from layersig.evaluating.own import own

Config = dict[str, Any]

_ROOT = Path(lm_eval.tasks.__file__).parent
_GROUP_KEYS = frozenset(GroupConfig.__dataclass_fields__)
_STRUCTURE = frozenset({"tag", "group", "task_list"})


def is_definition(path: Path) -> bool:
    """Whether a task's path is a user's YAML file, not a folder of rows."""
    return path.suffix in {".yaml", ".yml"}


def named(name: str, *, functions: bool = True) -> tuple[Config, ...]:
    """The leaf tasks of the task, group or tag `name`, groups in their order: ours (see `own`), else lm-eval's.

    Args:
        name: As lm-eval lists it.
        functions: Import what `!function` names; otherwise leave its path, so that the configuration is plain data.

    Raises:
        UserError: lm-eval has no such task, or it is written in Python.
    """
    if (config := own(name)) is not None:
        return (_clean(config),)
    # The index of all of lm-eval's tasks takes ten seconds to build; that of one folder a few tenths.
    index = TaskManager(include_defaults=False, include_path=_folders(name)).task_index
    try:
        return tuple(_leaves(name, {}, index, functions))
    except KeyError:
        manager = TaskManager()
    if name not in manager.task_index:
        close = difflib.get_close_matches(name, manager.all_tasks, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"evaluate.tasks: lm-eval has no task `{name}`{hint}")
    return tuple(_leaves(name, {}, manager.task_index, functions))


def user(path: Path, *, functions: bool = True) -> tuple[Config, ...]:
    """The leaf tasks of a user's YAML file; a group's members are files of the same folder.

    Raises:
        UserError: The file is missing, is not YAML, or does not define a task.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such task file")
    try:
        config = load_yaml(path, resolve_func=functions)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{path}{line}: not valid YAML ({said})") from error
    except (ValueError, OSError, ImportError, AttributeError, SyntaxError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an lm-eval task ({error})") from error
    if isinstance(config.get("group"), str):
        index = TaskManager(include_defaults=False, include_path=path.parent).task_index
        try:
            return tuple(_leaves(config["group"], {}, index, functions))
        except KeyError as error:
            raise UserError(f"{path}: no file of this folder defines its member {error}") from error
    if not isinstance(config.get("task"), str):
        raise UserError(f"{path}: an lm-eval task needs a name: `task: my_task`")
    if "class" in config:
        raise UserError(f"{path}: tasks written in Python (`class:`) are not supported")
    return (_clean(config),)


def _folders(name: str) -> list[Path]:
    """Folders of lm-eval in whose files something is called `name`."""
    defines = re.compile(rb'^\s*"?(?:task|group)"?\s*:\s*["\']?' + re.escape(name.encode()) + rb'["\']?\s*$', re.M)
    found = set()
    for folder, _, files in os.walk(_ROOT):
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".yaml" and name.encode() in (text := path.read_bytes()) and defines.search(text):
                found.add(_ROOT / path.relative_to(_ROOT).parts[0])
    return sorted(found)


def _leaves(name: str, overrides: Config, index: Mapping[str, Any], functions: bool) -> Iterator[Config]:
    """Raises KeyError for a name that the index lacks."""
    entry = index[name]
    if entry.yaml_path is None:
        for member in sorted(entry.tags):
            yield from _leaves(member, overrides, index, functions)
        return
    config = {**load_yaml(entry.yaml_path, resolve_func=functions), **overrides}
    if "class" in config:
        raise UserError(
            f"evaluate.tasks: `{name}` is written in Python; only lm-eval tasks defined in YAML are supported"
        )
    if "group" not in config:
        yield _clean(config)
        return
    below = {key: value for key, value in config.items() if key not in _GROUP_KEYS}
    for member in config["task"]:
        if isinstance(member, str):
            yield from _leaves(member, below, index, functions)
        elif isinstance(member.get("task"), str):
            yield from _leaves(member["task"], {**below, **member}, index, functions)
        else:
            raise UserError(f"evaluate.tasks: group `{name}` defines a group inside itself, which is not supported")


def _clean(config: Config) -> Config:
    return {key: value for key, value in config.items() if key not in _STRUCTURE}
