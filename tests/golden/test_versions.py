"""A stage whose code changed must say whether its results did."""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Iterator

import pytest

from tests.golden.closure import Code, digest
from tests.golden.normal_form import Key
from tests.golden.versions import ACCEPTED, BORDERS, LOADED_BY_FILE, PACKAGE, present, watched

MODULES_DRAWN = 40


@pytest.fixture(scope="module")
def code() -> Code:
    return Code.read(PACKAGE)


@pytest.fixture(scope="module")
def reached(code: Code) -> dict[str, frozenset[Key]]:
    return watched(code)


def test_no_stage_changed_without_a_new_version(code, reached):
    accepted, now = json.loads(ACCEPTED.read_text(encoding="utf-8")), present(code, reached)
    unversioned = [
        name
        for name, found in now.items()
        if name in accepted and found != accepted[name] and found["version"] == accepted[name]["version"]
    ]
    assert not unversioned, (
        f"the code that {unversioned} depend on changed and the version did not: bump it (layersig/stages/kinds.py, "
        "or the decorator), or, if every result stays as it was, run `python -m tests.golden.versions`"
    )
    assert now == accepted, "run `python -m tests.golden.versions` to accept the new versions"


def test_a_changed_constant_in_any_module_that_a_result_depends_on_is_noticed(code, reached):
    drawn = random.Random(20)
    every = frozenset[Key]().union(*reached.values())
    constants = {module: found for module in {m for m, _ in every} if (found := list(_constants(code, module, every)))}
    modules = drawn.sample(sorted(constants), MODULES_DRAWN)
    for module in modules:
        definition, node = drawn.choice(constants[module])
        name = next(name for name, keys in reached.items() if (module, definition) in keys)
        other = code.changed(module, _replaced(code.texts[module], node, repr(node.value + 1)))
        before, after = (_digest(each, reached[name]) for each in (code, other))
        assert before != after, f"{module}:{node.lineno} {definition} is not seen by {name}"


def test_changed_comments_and_docstrings_are_not_noticed(code, reached):
    every = frozenset[Key]().union(*reached.values())
    for module in random.Random(20).sample(sorted({module for module, _ in every}), MODULES_DRAWN):
        name = next(name for name, keys in reached.items() if any(key[0] == module for key in keys))
        texts = [node for node in ast.walk(ast.parse(code.texts[module])) if _is_docstring(node)]
        text = code.texts[module]
        for node in sorted(texts, key=lambda each: each.lineno, reverse=True):
            text = _replaced(text, node.value, '"""Another text."""')
        other = code.changed(module, f"# A comment.\n{text}\n# And another.\n")
        assert _digest(code, reached[name]) == _digest(other, reached[name]), module


PLAIN = """
from layersig.errors import UserError
from layersig.b import twice

SCALE: float = 0.5

def _half(value: float) -> float:
    return value * SCALE

def run(job) -> None:
    job.reporter.start("halve", 1, "values")
    values = [_half(each) for each in job.read()]
    if not values:
        raise UserError("no values")
    job.write(twice(sum(values)))
"""
TWICE = "def twice(value):\n    return 2 * value\n\ndef unused(value):\n    return 3 * value\n"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("_half", "_divided", True),
        ("values", "found", True),
        ("each", "one", True),
        ("SCALE: float", "SCALE", True),
        ("value: float) -> float", "value)", True),
        ('"no values"', '"there are no values; add some"', True),
        ('    job.reporter.start("halve", 1, "values")\n', "", True),
        ("_half(each) for", "each for", False),
        ("0.5", "0.25", False),
        ("if not values", "if values", False),
        ("twice(sum(values))", "sum(values)", False),
        ("twice(sum(values))", "_half(sum(values))", False),
    ],
)
def test_only_what_can_alter_a_result_is_noticed(old, new, same):
    changed = PLAIN.replace(old, new)
    texts = {"layersig": "", "layersig.b": TWICE, "layersig.errors": "class UserError(Exception): ...\n"}
    before, after = (Code({**texts, "layersig.a": text}) for text in (PLAIN, changed))
    assert (_result(before, "layersig.a:run") == _result(after, "layersig.a:run")) is same


def test_a_moved_module_and_a_definition_that_is_not_reached_are_not_noticed():
    texts = {"layersig": "", "layersig.errors": "class UserError(Exception): ...\n"}
    before = Code({**texts, "layersig.a": PLAIN, "layersig.b": TWICE})
    moved = PLAIN.replace("twice", "c.twice").replace("from layersig.b import c.twice", "from layersig import c")
    package = {"layersig.c": "from layersig.c.d import twice\n", "layersig.c.d": TWICE.replace("3", "4")}
    after = Code({**texts, "layersig.e": moved, **package})
    assert _result(before, "layersig.a:run") == _result(after, "layersig.e:run")


def test_what_is_listed_by_hand_is_still_needed(code, reached):
    modules = {module for keys in reached.values() for module, _ in keys}
    assert LOADED_BY_FILE.keys() <= modules
    for border in BORDERS:
        others = [each for each in BORDERS if each != border]
        roots = [f"{module}:{name}" for module, name in reached["stage evaluate"] | reached["stage data"] if name]
        assert any(f"{key[0]}.".startswith(f"{border}.") for key in code.closure(roots, others)), border


def _result(code: Code, root: str) -> str:
    return _digest(code, code.closure([root], BORDERS))


def _digest(code: Code, keys: frozenset[Key]) -> str:
    return digest(code.hashes(keys).values())


def _constants(code: Code, module: str, keys: frozenset[Key]) -> Iterator[tuple[str, ast.Constant]]:
    """Numbers that something is computed with, in definitions that a result depends on."""
    for name, statements in code.module(module).definitions.items():
        if (module, name) in keys or (module, "*") in keys:
            for statement in statements:
                for node in _computing(statement):
                    yield name if (module, name) in keys else "*", node


def _computing(node: ast.AST) -> Iterator[ast.Constant]:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.arg) or (isinstance(node, ast.Expr) and _reports(node)):
        return
    if isinstance(node, ast.BinOp | ast.Compare | ast.AugAssign | ast.UnaryOp):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and type(child.value) in (int, float):
                yield child
    for child in ast.iter_child_nodes(node):
        yield from _computing(child)


def _reports(node: ast.Expr) -> bool:
    return "reporter." in ast.unparse(node) or ast.unparse(node).startswith("warn(")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _replaced(text: str, node: ast.expr, new: str) -> str:
    """A text with other source in the place of a node."""
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    joined = b"".join(lines)
    return (joined[:start] + new.encode() + joined[end:]).decode()
