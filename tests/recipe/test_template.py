from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE, write

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: \"{{ m['content'] }}\"\n{% endfor %}"


def with_template(choice: str) -> str:
    return EXAMPLE.replace('dtype = "float32"', f'chat_template = "{choice}"')


def test_the_resolved_recipe_holds_the_text_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(TEMPLATE)
    loaded = load(write(tmp_path, with_template("file:mine.jinja")))
    assert loaded.recipe.model.chat_template == TEMPLATE
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load(write(elsewhere, loaded.resolved)).recipe == loaded.recipe
    (tmp_path / "mine.jinja").write_text(TEMPLATE + "\n")
    assert load(tmp_path / "study.toml").id != loaded.id


def test_a_template_of_an_override_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.jinja").write_text(TEMPLATE)
    monkeypatch.chdir(here)
    assert load(write(tmp_path), ["model.chat_template=file:mine.jinja"]).recipe.model.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("chatml", 'must be "auto", "plain" or "file:X.jinja"; got "chatml"'),
        ("file:none.jinja", "none.jinja cannot be read: No such file or directory"),
        ("file:flat.jinja", "flat.jinja is not a chat template"),
        ("file:raw.jinja", "raw.jinja cannot be read: 'utf-8' codec"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_fault_at_its_key(tmp_path: Path, choice: str, words: str) -> None:
    (tmp_path / "flat.jinja").write_text("user: assistant:")
    (tmp_path / "raw.jinja").write_bytes(b"{{\xff}}")
    with pytest.raises(UserError, match=r"model\.chat_template: ") as caught:
        load(write(tmp_path, with_template(choice)))
    assert words in str(caught.value)
