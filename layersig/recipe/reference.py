"""The reference of recipe keys as Markdown, from the same schema that checks recipes.

`python -m layersig.recipe.reference > docs/reference/recipe.md` writes the page.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from layersig.plugin.components import Kind
from layersig.plugin.manager import built_in
from layersig.recipe.json_schema import json_schema

_INTRODUCTION = """\
# Recipe reference

Every key of a recipe, with its type, default and meaning.

- A key without a default must be given; `-` means absent.
- TOML has no null: omit a key to get its default.
- `layersig schema` prints the same as a JSON schema for editors, including the parameters of installed plugins.
"""

_HEADINGS: Mapping[str, str] = {
    "Recipe": "Top level",
    "ModelSettings": "[model]",
    "NamedModel": "[[models]]",
    "LayerSettings": "[layers]",
    "DataSettings": "[[data]]",
    "FieldSettings": "data.fields",
    "GenerateSettings": "data.generate",
    "FilterSettings": "generate.filters",
    "ServerSettings": "generate.endpoint",
    "TrainSettings": "[train]",
    "ResampleSettings": "train.resample",
    "SearchSettings": "[train.search]",
    "AdaLoraSettings": "[train.adalora]",
    "UpdateSettings": "[update]",
    "ScorerChoice": "[scorers.NAME]",
    "Arm": "[[arms]]",
    "Choice": "select",
    "SweepSettings": "[[sweeps]]",
    "EvaluateSettings": "[evaluate]",
    "TaskSettings": "tasks",
    "ConversationSettings": "conversations",
    "AnswerSettings": "[evaluate.answers]",
    "JudgeSettings": "[judge]",
    "AnalyzeSettings": "[analyze]",
    "LooksSettings": "analyze.looks",
    "AboutSettings": "[about]",
}

_SIGNS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def render() -> str:
    """The page, for the built-in components."""
    schema = json_schema(built_in())
    tables = {"Recipe": schema, **schema["$defs"]}
    parts = [_INTRODUCTION]
    for name, heading in _HEADINGS.items():
        table = tables[name]
        about = _sentence(table).removeprefix(f"`{heading}`: ")
        parts.append(f"## {_code(heading)}\n\n{about[0].upper()}{about[1:]}\n")
        if "oneOf" not in table:
            parts.append(_rows(table, table["properties"]))
            parts += [*_named("method", table), *_named("objective", table)] if name == "TrainSettings" else []
            continue
        shared = set.intersection(*(set(branch["properties"]) for branch in table["oneOf"])) - {"kind"}
        if shared:
            parts.append(_rows(table["oneOf"][0], shared))
        for branch in table["oneOf"]:
            parts.append(f'### `kind = "{branch["title"]}"`\n\n{_sentence(branch)}\n')
            if own := branch["properties"].keys() - shared - {"kind"}:
                parts.append(_rows(branch, own))
    return "\n".join(parts)


def _named(kind: Kind, train: Mapping[str, Any]) -> Iterator[str]:
    """What each tuning method or objective does, and the parameters of those that have a table of their own."""
    known = built_in()
    for name in known.names(kind):
        yield f'### `{kind} = "{name}"`\n\n{_sentence({"description": known.get(kind, name).summary})}\n'
        own = train["properties"].get(name, {})
        if "properties" in own:
            yield f"In `[train.{name}]`:\n"
            yield _rows(own, own["properties"])


def _code(heading: str) -> str:
    return heading if heading == _HEADINGS["Recipe"] else f"`{heading}`"


def _sentence(table: Mapping[str, Any]) -> str:
    text = " ".join(str(table.get("description", "")).split())
    return text if text.endswith(".") else f"{text}."


def _rows(table: Mapping[str, Any], keys: Collection[str]) -> str:
    required = {*table.get("required", ()), *table.get("else", {}).get("required", ())}
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in table["properties"].items():
        if key not in keys:
            continue
        cells = [f"`{key}`", _type(value), _default(value, required=key in required), value.get("description", "")]
        lines.append(f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _default(value: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    return "-" if default is None or isinstance(default, dict) or default == [] else f"`{json.dumps(default)}`"


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        # Tables of a component are prefixed with its name.
        return f"table {_code(_HEADINGS[value['$ref'].rpartition('/')[2].rpartition('.')[2]])}"
    if "const" in value or "enum" in value:
        return ", ".join(f"`{json.dumps(each)}`" for each in value.get("enum", [value.get("const")]))
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"] if each.get("type") != "null")
    if value.get("type") == "array":
        return f"list of: {_entries(value)}"
    if value.get("type") == "object":
        named = [_type(each) for each in value.get("patternProperties", {}).values()]
        return f"tables: {named[0]}" if named else "table"
    words = {"integer": "whole number", "number": "number", "string": "string", "boolean": "true or false"}
    bounds = [f"{sign} {value[name]:g}" for name, sign in _SIGNS.items() if name in value]
    return f"{words[value['type']]} {' and '.join(bounds)}".strip()


def _entries(value: Mapping[str, Any]) -> str:
    entries: Sequence[Mapping[str, Any]] = value.get("prefixItems") or [value["items"]]
    return ", ".join(dict.fromkeys(_type(each) for each in entries))


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - the page itself
