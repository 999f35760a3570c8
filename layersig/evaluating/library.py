"""lm-eval's library of definitions as plain data, read without importing lm-eval, which takes seconds."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

Config = dict[str, Any]

_Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAMES = re.compile(rb'^[ -]*"?(?:task|group)"?[ ]*:[ ]*["\']?([^\s"\'#]+)["\']?[ ]*(?:#.*)?$', re.M)
_TAGS, _INCLUDES = (re.compile(rb'^"?%s"?[ ]*:(.*(?:\n[ ]*-.*)*)' % key, re.M) for key in (b"tag", b"include"))
_OTHER_FILES = frozenset({".py", ".pyc", ".md", ".json", ".jsonl", ".txt", ".csv"})
_WORD = re.compile(rb"[\w.+-][^\s,\"'\[\]#]*")


@dataclass(slots=True)
class TaskEntry:
    """The meaning of a name in a library of tasks.

    Attributes:
        path: The YAML file of a task or a group; None for a tag.
        members: Tasks that carry the tag.
    """

    path: Path | None = None
    members: set[str] = field(default_factory=set)


Index = Mapping[str, TaskEntry]


@cache
def root() -> Path:
    """The folder of lm-eval's own definitions."""
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None, "lm-eval is a dependency of layersig"
    return Path(str(spec.origin)).parent / "tasks"


def read(path: Path, *, functions: bool = False, included: tuple[Path, ...] = ()) -> Config:
    """A YAML file with what it includes.

    Args:
        path: The file.
        functions: Import what `!function` names, by lm-eval's own loader; otherwise leave `FOLDER/MODULE.NAME`.
        included: Files on the way here.

    Raises:
        ValueError: The file holds no mapping, or includes itself.
        OSError: It, or a file that it includes, cannot be read.
        yaml.YAMLError: It is not YAML.
    """
    if functions:
        from lm_eval.tasks._yaml_loader import load_yaml

        return dict(load_yaml(path))
    path = path.expanduser().resolve()
    if path in included:
        raise ValueError(f"Include cycle at {path}")

    class Loader(_Base):  # type: ignore[misc, valid-type]
        """Functions are relative to the folder of the file that names them."""

    Loader.add_constructor("!function", lambda loader, node: str(path.parent / loader.construct_scalar(node)))
    config = yaml.load(path.read_bytes(), Loader=Loader)
    if not isinstance(config, dict):
        raise ValueError(f"Expected YAML dict from {path}, got {type(config).__name__}")
    merged: Config = {}
    includes = config.pop("include", ())
    for each in [includes] if isinstance(includes, str) else includes:
        below = read(path.parent / each, included=(*included, path))
        below.pop("task_list", None)
        merged |= below
    return merged | config


def included(path: Path) -> set[Path]:
    """The files that a YAML file includes, and those that they include; `read` has found them sound."""
    config = yaml.load(path.read_bytes(), Loader=_plain_loader())
    includes = config.get("include", ())
    found: set[Path] = set()
    for each in [includes] if isinstance(includes, str) else includes:
        below = (path.parent / each).expanduser().resolve()
        found |= {below, *included(below)}
    return found


def _plain_loader() -> type[Any]:
    class Loader(_Base):  # type: ignore[misc, valid-type]
        """Functions are names."""

    Loader.add_constructor("!function", lambda loader, node: str(loader.construct_scalar(node)))
    return Loader


def index_of(folder: Path) -> dict[str, TaskEntry]:
    """Tasks, groups and tags that the YAML files below a folder define; of equal names, the first file's."""
    found: dict[str, TaskEntry] = {}
    for path in sorted(folder.glob("**/*.yaml"), key=lambda each: each.as_posix()):
        try:
            config = read(path)
        except (OSError, ValueError, TypeError, yaml.YAMLError):
            continue  # lm-eval leaves out what it cannot read, too
        name = config.get("group" if "group" in config and "class" not in config else "task")
        if not isinstance(name, str) or getattr(found.get(name), "path", None) is not None:
            continue
        found.setdefault(name, TaskEntry()).path = path
        if "group" not in config or "class" in config:
            tags = config.get("tag") or ()
            for tag in [tags] if isinstance(tags, str) else tags:
                found.setdefault(tag, TaskEntry()).members.add(name)
    return found


@cache
def names() -> Mapping[str, frozenset[Path]]:
    """Every name that lm-eval's files seem to give a task, a group or a tag, with the folders to look in."""
    found: dict[str, set[Path]] = {}
    for path in sorted(root().glob("*/**/*")):
        if path.suffix in _OTHER_FILES or not path.is_file():  # what is included may have any name
            continue
        text = path.read_bytes()
        folder = root() / path.relative_to(root()).parts[0]
        for name in (*_NAMES.findall(text), *_words(_TAGS, text), *_inherited_tags(path, text)):
            found.setdefault(name.decode(errors="replace"), set()).add(folder)
    return {name: frozenset(folders) for name, folders in found.items()}


def _inherited_tags(path: Path, text: bytes) -> Iterator[bytes]:
    """Tags from files of other folders that a file includes; those of its own folder lead there anyway."""
    for each in _words(_INCLUDES, text):
        if each.startswith(b"../"):
            yield from _tags_with_included((path.parent / each.decode(errors="replace")).resolve())


@cache
def _tags_with_included(path: Path) -> frozenset[bytes]:
    text = path.read_bytes() if path.is_file() else b""
    below = ((path.parent / each.decode(errors="replace")).resolve() for each in _words(_INCLUDES, text))
    return frozenset(_words(_TAGS, text)).union(*map(_tags_with_included, below))


def _words(key: re.Pattern[bytes], text: bytes) -> Iterator[bytes]:
    """The words of a key's value, which is one word or a list."""
    for block in key.findall(text):
        yield from _WORD.findall(re.sub(rb"(?m)^\s*-\s|#.*$", b" ", block))


class Library(Mapping[str, TaskEntry]):
    """lm-eval's own index; a folder is read when a name in it is asked for."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, TaskEntry]] = {}

    def __getitem__(self, name: str) -> TaskEntry:
        found = TaskEntry()
        for folder in sorted(names()[name]):
            if folder not in self._read:
                self._read[folder] = index_of(folder)
            if (entry := self._read[folder].get(name)) is not None:
                found.path = found.path or entry.path
                found.members |= entry.members
        if found.path is None and not found.members:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())


@cache
def library() -> Library:
    """The library of the installed lm-eval."""
    return Library()
