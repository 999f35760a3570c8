"""`docs/questions.md` names recipes, commands, keys, parts of the report and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from layersig.analysis.ceiling import MIN_SEEDS_FOR_CEILING
from layersig.cli.main import VERBS
from layersig.recipe.bundled import find
from layersig.recipe.load import load
from layersig.recipe.schema import Recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
ELSEWHERE = {"printed", "a folder", "a file", "a file of its own"}


class Answer(NamedTuple):
    """A row of the page."""

    question: str
    how: str
    where: str
    test: str


def rows() -> Iterator[Answer]:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if len(cells) == 4 and cells[0].endswith("?"):
            yield Answer(*cells)


ROWS = list(rows())


def titles() -> set[str]:
    """Every title that a report may show: the text literals of the modules that write it."""
    paths = (path for folder in ("report", "topics") for path in (ROOT / "layersig" / folder).rglob("*.py"))
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    literals = [node.value for tree in modules for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {value for value in literals if isinstance(value, str)}


def is_key(name: str) -> bool:
    section, _, key = name.partition(".")
    if section not in Recipe.model_fields:
        return False
    fields = getattr(Recipe.model_fields[section].annotation, "model_fields", {})
    return key in fields


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_line_of_a_table_is_a_question_with_its_answer() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.startswith(("| question |", "| --- |"))]
    assert len(ROWS) == len(lines) - len(heads) > 40
    assert len({row.question for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in named(row.how)}))
def test_what_asks_is_a_verb_a_key_or_a_recipe_for_a_cpu(name: str) -> None:
    if name.startswith("layersig "):
        assert name.split()[1] in VERBS
    elif not is_key(name):
        text = find(name).read_text(encoding="utf-8")
        assert not name.startswith("paper/")
        assert "CPU" in text.split("\n\nname = ")[0] or "[judge]" in text


def test_recipes_that_name_layers_have_the_seeds_that_it_takes() -> None:
    named_by = [name for row in ROWS if row.where == '"Which layers"' for name in named(row.how)]
    assert named_by
    for name in (*named_by, "ila_norobots"):
        assert len(load(find(name)).recipe.seeds) >= MIN_SEEDS_FOR_CEILING, name


def test_where_the_answer_is_there_is_a_part_of_that_title() -> None:
    known = titles()
    for row in ROWS:
        if row.where not in ELSEWHERE:
            assert row.where.startswith('"')
            assert row.where.strip('"') in known, row
        assert named(row.how), row


@pytest.mark.parametrize("test", sorted({test for row in ROWS for test in named(row.test)}))
def test_what_checks_it_is_a_file_with_tests(test: str) -> None:
    tree = ast.parse((ROOT / "tests" / test).read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in tree.body)


def test_every_small_recipe_answers_a_question() -> None:
    asked = {name for row in ROWS for name in named(row.how)}
    small = {
        f"{path.parent.name}/{path.stem}"
        for path in (ROOT / "recipes").rglob("*.toml")
        if path.parent.name == "small" or path.stem.startswith("small-")
    }
    assert small - asked == set()
