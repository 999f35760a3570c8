"""Nothing finished stays out of reach: every public function of the analysis serves a report or is documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import layersig

PACKAGE = Path(layersig.__file__).parent
DOCS = PACKAGE.parent / "docs"
ANALYSIS = "layersig.analysis"

Name = tuple[str, str]
"""Module of the analysis, without the package, and a name in it."""


def modules() -> dict[str, ast.Module]:
    """The analysis by module."""
    return {path.stem: ast.parse(path.read_text()) for path in sorted((PACKAGE / "analysis").glob("[!_]*.py"))}


def imported(tree: ast.AST) -> Iterator[tuple[str, Name]]:
    """Local names for what a module imports of the analysis; ("", name) is a module of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == ANALYSIS:
            yield from ((alias.asname or alias.name, ("", alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{ANALYSIS}."):
            module = str(node.module).removeprefix(f"{ANALYSIS}.")
            yield from ((alias.asname or alias.name, (module, alias.name)) for alias in node.names)


def used(tree: ast.AST, known: dict[str, Name]) -> Iterator[Name]:
    """What a piece of code names of the analysis."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in known and known[node.id][0]:
            yield known[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = known.get(node.value.id, ("?", ""))
            if not module:
                yield name, node.attr


def reached() -> set[Name]:
    """Names that the package uses outside of the analysis, and all that those use inside."""
    inside: dict[Name, set[Name]] = {}
    for stem, tree in modules().items():
        own = {name: (stem, name) for node in tree.body for name in defined(node)}
        known = {**dict(imported(tree)), **own}
        for node in tree.body:
            for name in defined(node):
                inside.setdefault((stem, name), set()).update(used(node, known))
    todo: list[Name] = []
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "analysis" not in path.parents:
            tree = ast.parse(path.read_text())
            todo += list(used(tree, dict(imported(tree))))
    found: set[Name] = set()
    while todo:
        if (place := todo.pop()) not in found:
            found.add(place)
            todo += inside.get(place, ())
    return found


def defined(node: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a module gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def documented() -> set[Name]:
    """Functions that the pages for users name, as `module.function`."""
    text = "\n".join(path.read_text() for path in DOCS.glob("*.md"))
    return {(module, name) for module, name in re.findall(r"`(?:layersig\.analysis\.)?(\w+)\.(\w+)`", text)}


def public_functions() -> set[Name]:
    return {
        (stem, node.name)
        for stem, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def test_every_public_function_serves_the_package_or_is_documented_for_users() -> None:
    assert sorted(public_functions() - reached() - documented()) == []


def test_use_is_followed_through_the_analysis_and_no_further() -> None:
    found = reached()
    assert ("ceiling", "noise_ceiling") in found
    assert ("jackknife", "pair_means_without") in found
    assert ("moderated", "moderated_variances") in found
    assert ("overlap", "no_such_function") not in found
    assert ("agreement", "repeat_agreement") in found


def test_code_that_names_nothing_of_the_analysis_uses_nothing_of_it() -> None:
    known = {"served": ("m", "served"), "floors": ("", "floors")}
    assert list(used(ast.parse("served(1)"), known)) == [("m", "served")]
    assert list(used(ast.parse("floors.with_items(1)"), known)) == [("floors", "with_items")]
    assert list(used(ast.parse("other.served()"), known)) == []


def test_what_the_pages_name_of_the_analysis_is_there() -> None:
    stems = modules()
    files = {"csv", "json", "jsonl"}
    named = {(module, name) for module, name in documented() if module in stems and name not in files}
    there = {(stem, name) for stem, tree in stems.items() for node in tree.body for name in defined(node)}
    assert ("power", "power_two_way") in named
    assert sorted(named - there) == []


def test_the_examples_for_users_run(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "analysis.md").read_text(), flags=re.DOTALL):
        exec(block, scope)
    said = capsys.readouterr().out.splitlines()
    assert "shares layers" in said
    assert said[3].startswith("160 126.9")
    shares = [float(line.split()[1]) for line in said[-3:]]
    assert shares == sorted(shares)
