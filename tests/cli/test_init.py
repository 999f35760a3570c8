"""`layersig init`: from a file of conversations to a recipe that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.recipe.load import load
from tests.study import call, chats, write_lines


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "my chats.jsonl", chats(24))
    return tmp_path


def test_the_defaults_give_a_valid_recipe_with_a_comment_on_every_choice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "init", "my chats.jsonl", "--yes")
    assert (code, out) == (0, "my-chats.toml: next, `layersig plan my-chats.toml`\n")
    assert "24 conversations (messages)" in err
    recipe = load("my-chats.toml").recipe
    assert (recipe.data[0].source, recipe.data[0].heldout, recipe.seeds) == ("file:my chats.jsonl", 4, (0,))
    assert recipe.arms[0].select.params["fraction"] == 0.3
    text = (folder / "my-chats.toml").read_text()
    assert text.startswith("#:schema ./recipe.schema.json\n# Which layers matter")
    assert "layersig run my-chats.toml" in text
    comments = [line for line in text.splitlines() if "# " in line and not line.startswith("#")]
    assert len(comments) >= 9
    assert all(line.index("# ") >= 36 for line in comments)
    assert call(capsys, "validate", "my-chats.toml")[0] == 0


def test_the_comments_hold_a_search_of_the_learning_rate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "init", "my chats.jsonl", "--yes")[0] == 0
    assert load("my-chats.toml").recipe.train.search is None
    text = (folder / "my-chats.toml").read_text()
    shown = text.replace("# [train.search]", "[train.search]").replace("# learning_rates", "learning_rates")
    (folder / "searching.toml").write_text(shown)
    search = load("searching.toml").recipe.train.search
    assert search is not None
    assert search.learning_rates == (2e-4, 5e-4, 1e-3)


def test_options_and_another_folder_are_heeded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study").mkdir()
    options = ("--model", "path:model", "--fraction", 0.5, "--seeds", 5, "--heldout", 6, "-o", "study/recipe.toml")
    assert call(capsys, "init", "my chats.jsonl", "--yes", *options)[0] == 0
    loaded = load("study/recipe.toml")
    assert loaded.recipe.model.source == f"path:{folder / 'model'}"
    assert loaded.recipe.data[0].source == f"file:{folder / 'my chats.jsonl'}"
    assert (loaded.recipe.seeds, loaded.recipe.data[0].heldout) == ((0, 1, 2, 3, 4), 6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.jsonl",), "nothing.jsonl"),
        (("one.jsonl",), "one.jsonl: it has one conversation"),
        (("my chats.jsonl", "--fraction", 30), "arms.0.select.fraction"),
        (("my chats.jsonl", "--seeds", 0), "seeds"),
        (("my chats.jsonl", "-o", "kept.toml"), "kept.toml exists already"),
        (("my chats.jsonl", "-o", "away/x.toml"), "there is no folder away"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], said: str
) -> None:
    (folder / "kept.toml").write_text("mine")
    write_lines(folder / "one.jsonl", chats(1))
    code, _, err = call(capsys, "init", *arguments, "--yes")
    assert (code, said in err) == (2, True), err
    assert sorted(path.name for path in folder.glob("*.toml")) == ["kept.toml"]
    assert (folder / "kept.toml").read_text() == "mine"


def test_a_long_value_and_unused_fields_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(folder / "pairs.jsonl", [{"prompt": f"{n}", "chosen": "a", "rejected": "b"} for n in range(9)])
    model = "path:a-folder-with-quite-a-long-name"
    code, _, err = call(capsys, "init", "pairs.jsonl", "--yes", "--model", model)
    assert code == 0
    assert "warning: Fields `rejected` (100 % of rows) hold rejected responses" in err
    assert f'source = "{model}" # or hub:ID' in (folder / "pairs.toml").read_text()
