"""Faults of a recipe: where each is, what was given, and what is allowed, all reported at once."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from layersig.docstrings import descriptions
from layersig.errors import UserError
from layersig.plugin.table import suggestion
from layersig.recipe.foreign import key_hint, value_hint
from layersig.recipe.positions import KeyPath
from layersig.recipe.schema import (
    DATE_PATTERN,
    DEVICE_PATTERN,
    ENDPOINT_PATTERN,
    NAME_PATTERN,
    SOURCE_PATTERN,
    STATEMENT_PATTERN,
    VARIABLE_PATTERN,
    Recipe,
)

_PATTERNS = {
    NAME_PATTERN: "must be letters, digits, `-`, `_` and inner `.`, starting with a letter or digit",
    SOURCE_PATTERN: "must be `scheme:reference`, such as `hub:ID` or `file:X.jsonl`",
    ENDPOINT_PATTERN: "must be a base URL without a user or a query, such as `http://localhost:8000/v1`",
    DATE_PATTERN: 'must be a date such as "2024", "2024-06" or "2024-06-30", or "unknown"',
    DEVICE_PATTERN: "must be `auto`, `cpu`, `mps`, `cuda`, or one of several GPUs, such as `cuda:1`",
    STATEMENT_PATTERN: "must not be empty; remove the key if there is nothing to state",
    VARIABLE_PATTERN: "must be the name of an environment variable, never the key itself",
}
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST = 1000
_MOST = 100
_KINDS: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a recipe.

    Attributes:
        path: The key.
        message: What was given, what is allowed, what to do.
        override: The override itself, if it is malformed, such as one without `=`.
        more: Lines below the message, such as rows that cannot be used.
        idle: Whether the key is not wrong, but without effect beside the others: an override or a grid may make it so.
    """

    path: KeyPath
    message: str
    override: str | None = None
    more: Sequence[str] = ()
    idle: bool = False


@dataclass(frozen=True)
class Origins:
    """Where each key of a recipe was set.

    Attributes:
        file: The recipe file, as the user named it.
        lines: Line of every key in the file.
        overrides: Override, as the user typed it, of every key that one has set.
    """

    file: str
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """`recipe.toml:12` or `override train.rank=x`; the first line for a key that is missing."""
        override, line = self._nearest(path)
        return f"{self.file}:{line or 1}" if override is None else f"override {_cut(override, 100)}"

    def overlaid(self, path: KeyPath, override: str) -> Origins:
        """The origins after an override has set the value at `path`."""
        return Origins(
            self.file,
            {key: line for key, line in self.lines.items() if key[: len(path)] != path},
            {key: text for key, text in self.overrides.items() if key[: len(path)] != path} | {path: override},
        )

    def order(self, path: KeyPath) -> tuple[int, int]:
        """Sort key of `where`: missing keys, then lines, then overrides in the order given."""
        override, line = self._nearest(path)
        return (0, line) if override is None else (1, list(self.overrides.values()).index(override))

    def overridden(self, path: KeyPath) -> bool:
        """Whether an override has set the value at a path, or a table around it."""
        return self._nearest(path)[0] is not None

    def _nearest(self, path: KeyPath) -> tuple[str | None, int]:
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return self.overrides[path[:length]], 0
            if path[:length] in self.lines:
                return None, self.lines[path[:length]]
        return None, 0


def error(faults: Iterable[Fault], origins: Origins) -> UserError:
    """One error that lists the faults by line: the first at each key, and at most 100."""
    first: dict[tuple[KeyPath, str | None], Fault] = {}
    for fault in faults:
        first.setdefault((fault.path, fault.override), fault)
    ordered = sorted(first.values(), key=lambda fault: _order(fault, origins))
    told = [_told(fault, origins) for fault in ordered[:_MOST]]
    if len(ordered) == 1:
        return UserError(told[0])
    more = f", the first {_MOST} of them" if len(ordered) > _MOST else ""
    return UserError("\n  ".join([f"{origins.file}: {len(ordered)} faults{more}", *told]))


def _told(fault: Fault, origins: Origins) -> str:
    where = origins.where(fault.path) if fault.override is None else f"override {_cut(fault.override, 100)}"
    said = ": ".join(part for part in (_cut(dotted(fault.path), 200), fault.message) if part)
    return "\n    ".join([f"{where}: {_cut(said, _LONGEST)}", *(_cut(line.strip(), _LONGEST) for line in fault.more)])


def _cut(text: str, most: int) -> str:
    """A text as one printable line, shortened in the middle if it is too long."""
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-most // 2 :]}"
    return _UNPRINTABLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _order(fault: Fault, origins: Origins) -> tuple[tuple[int, int], list[str]]:
    place = origins.order(fault.path) if fault.override is None else (2, 0)
    return place, [str(key) for key in fault.path]


def dotted(path: KeyPath) -> str:
    """A key as written in overrides: `data.0.source`."""
    return ".".join(key if isinstance(key, str) and _BARE.fullmatch(key) else json.dumps(key) for key in path)


def faults_of(error: ValidationError, model: type[BaseModel], data: Any, prefix: KeyPath = ()) -> list[Fault]:
    """Pydantic's errors as faults, in the terms of recipes.

    Args:
        error: The error from validating `data` as `model`.
        model: The model that was validated.
        data: The table as read.
        prefix: The key of the table.
    """
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_real_path(details, data), []).append(details)
    # A list is also found too short when an entry is wrong, and a union complains for every branch: the inner fault
    # says more.
    outer = {path[:length] for path in found for length in range(len(path))}
    inner = [path for path in found if path not in outer]
    # A message may compare a key with all that are known; beyond what is shown, that a key is wrong is enough.
    return [
        Fault((*prefix, *path), _message(path, found[path], model) if number < _MOST else "wrong")
        for number, path in enumerate(inner)
    ]


def _real_path(details: ErrorDetails, data: Any) -> KeyPath:
    """The location without pydantic's additions: names of union branches, `[key]`, fields of a short form."""
    path: list[str | int] = []
    node = data
    for key in details["loc"]:
        inside = isinstance(node, list) and isinstance(key, int) and 0 <= key < len(node)
        if inside or (isinstance(node, Mapping) and key in node):
            node = node[key]
            path.append(key)
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    return tuple(path)


def _message(path: KeyPath, details: Sequence[ErrorDetails], model: type[BaseModel]) -> str:
    kind = details[0]["type"]
    if kind == "missing" and isinstance(path[-1], int):
        return "missing: the list has too few entries"
    if kind == "missing":
        parent = _model_at(model, path[:-1])
        about = descriptions(parent).get(str(path[-1])) if parent else None
        return f"missing ({about.splitlines()[0].rstrip('.')})" if about else "missing"
    if kind == "extra_forbidden":
        parent = _model_at(model, path[:-1])
        return unknown_key(path, parent.model_fields if parent else ())
    got = details[0]["input"]
    first, *others = dict.fromkeys(_demand(each) for each in details)
    message = ", or ".join([first, *(each.removeprefix("must be ") for each in others)])
    if kind == "value_error" and isinstance(got, Mapping):
        return message
    if kind == "literal_error" and isinstance(got, str):
        return f"{message}; got {shown(got)}{_near(got, details[0])}"
    limits = [each.get("ctx", {}).get(_BOUNDS[each["type"]][0]) for each in details if each["type"] in _BOUNDS]
    hints = (value_hint(path, each["type"], got, next(iter(limits), None)) for each in details)
    hint = next((hint for hint in hints if hint is not None), None)
    return f"{message}; got {shown(got)}" + (f"; {hint}" if hint else "")


def unknown_key(path: KeyPath, known: Iterable[str]) -> str:
    """What is said of a key that a table does not have: what it is called here, or which are known."""
    hint = key_hint(path, _tables())
    return f"unknown key; {hint}" if hint is not None else "unknown key" + suggestion(str(path[-1]), known)


@cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    """The keys of the main tables of a recipe, and of its top."""
    names = ("model", "layers", "data", "train", "evaluate", "analyze")
    models = {name: _model_at(Recipe, (name, 0) if name == "data" else (name,)) for name in names}
    return {"": Recipe.model_fields, **{name: each.model_fields for name, each in models.items() if each}}


def _demand(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]:g}"
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", '"')
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    if kind in {"too_short", "too_long"}:
        least = kind == "too_short"
        number = context["min_length" if least else "max_length"]
        return f"must have {'at least' if least else 'at most'} {number} {'entry' if number == 1 else 'entries'}"
    if kind == "finite_number":
        return "must be a finite number"
    if kind == "value_error":
        return str(context["error"])
    return details["msg"].replace("Input should", "must").replace("String should", "must")


def _near(got: str, details: ErrorDetails) -> str:
    allowed = [word.strip("'") for word in details.get("ctx", {})["expected"].replace(" or ", ", ").split(", ")]
    hint = suggestion(got, allowed).partition("?")
    return f"{hint[0]}?" if hint[1] else ""


def shown(value: Any) -> str:
    """A value as written in a recipe, shortened, with the name of its type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        cut = value if len(value) <= 60 else f"{value[:57]}..."
        return f"{json.dumps(cut, ensure_ascii=False)} (a string)"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    return "a table" if isinstance(value, Mapping) else str(value)


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model of the table at a path."""
    annotation: Any = model
    for key in path:
        annotation = _inside(annotation, key)
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not types.NoneType)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _inside(annotation: Any, key: str | int) -> Any:
    """The type of the value at `key` in a value of type `annotation`; None if there is none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return arguments[1]
    if origin in (tuple, list):
        return arguments[0]
    if origin in (Annotated, Union, types.UnionType):
        return next((found for each in arguments if (found := _inside(each, key)) is not None), None)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and key in annotation.model_fields:
        return annotation.model_fields[str(key)].annotation
    return None
