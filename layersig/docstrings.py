"""What docstrings tell users: the first sentence, and the descriptions of the fields of pydantic models."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core.core_schema import CoreSchema


class Described(BaseModel):
    """Base of models whose JSON schema describes every field with the docstring under it.

    pydantic's own option reads the source of every class when the class is made, which is a fifth of the time of
    `layersig validate`; only schemas, the reference and some messages need the text.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema that pydantic makes, with the descriptions."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in descriptions(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


def first_sentence(text: str) -> str:
    """The first sentence of a docstring on one line, without its full stop; empty for an empty one."""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstring under each field of a model, its bases included; fields without one are left out."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found.update(_under_fields(base))
    return found


def _under_fields(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        return
    (tree,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(tree, ast.ClassDef)
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
