"""`[about]`: statements that change neither results nor the id of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load

RECIPE = """\
name = "x"
[model]
source = "path:model"
[[data]]
name = "chats"
source = "file:chats.jsonl"
[scorers.ila]
kind = "ila"
[evaluate]
tasks = ["hellaswag", "pypi:mmlu", "file:tasks/mine.yaml"]
"""


def recipe(folder: Path, about: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(f"{RECIPE}[about]\n{about}\n")
    return path


def test_statements_leave_the_id_alone_and_come_back_from_the_resolved_recipe(tmp_path: Path) -> None:
    about = """\
interests = "  none "
funding = "A grant"
training_cutoff = "2024-06"
licences = { model = "Apache-2.0", chats = "CC BY 4.0" }
published = { mmlu = "2020-09-07", mine = "2025" }
"""
    said, unsaid = load(recipe(tmp_path, about)), load(recipe(tmp_path, ""))
    assert said.id == unsaid.id
    assert said.recipe.about.interests == "none"
    assert "about" not in unsaid.resolved
    (tmp_path / "resolved.toml").write_text(said.resolved)
    assert load(tmp_path / "resolved.toml").recipe.about == said.recipe.about


@pytest.mark.parametrize("date", ["2024", "2024-06", "2024-06-30", "unknown"])
def test_dates_may_be_as_precise_as_they_are_known(tmp_path: Path, date: str) -> None:
    assert load(recipe(tmp_path, f'training_cutoff = "{date}"')).recipe.about.training_cutoff == date


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ('training_cutoff = "2024-13"', "must be a date such as"),
        ('training_cutoff = "June 2024"', "must be a date such as"),
        ("training_cutoff = 2024-06-01", "must not be a date or time"),
        ("training_cutoff = 2024", "about.training_cutoff"),
        ('interests = " "', "must not be empty"),
        ('interest = "none"', "did you mean"),
        ('licences = { chat = "MIT" }', 'there is no source "chat"; did you mean "chats"'),
        ('published = { hellaswagg = "2019" }', 'there is no task "hellaswagg"; did you mean "hellaswag"'),
        ('published = { mine = "soon" }', "must be a date such as"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_key(tmp_path: Path, about: str, words: str) -> None:
    with pytest.raises(UserError, match=r"recipe\.toml:12") as refused:
        load(recipe(tmp_path, about))
    assert words in str(refused.value)
