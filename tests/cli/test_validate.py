"""`layersig validate`: what it says of data sets in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.engine import input_check
from tests.study import call, write_study
from tests.tiny import save_tiny

RECIPE = """name = "mine"
[model]
source = "path:model"
[[data]]
name = "chats"
source = "file:chats.jsonl"
{more}
[scorers.ila]
kind = "ila"
"""


def check(folder: Path, capsys: pytest.CaptureFixture[str], *rows: object, more: str = "") -> tuple[int, str, str]:
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_tiny(folder / "model")
    (folder / "mine.toml").write_text(RECIPE.format(more=more))
    code, out, err = call(capsys, "validate", folder / "mine.toml", "--json")
    return code, out, err


def test_unused_fields_of_local_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"prompt": "a", "response": "b", "mood": "sad"}
    code, out, err = check(tmp_path, capsys, row, {**row, "prompt": "c"}, {**row, "prompt": "d", "label": False})
    assert code == 0
    notes = json.loads(out.splitlines()[-1])["notes"][str(tmp_path / "mine.toml")]
    assert [note.partition("data chats: ")[2].partition(")")[0] for note in notes] == [
        "Fields `mood` (100 % of rows",
        "1 of 3 rows are left out: `label` marks them as not to be learnt.",
    ]
    assert f"warning: {tmp_path / 'mine.toml'}:6: data chats: " in err
    code, out, _ = check(tmp_path, capsys, row, {**row, "prompt": "c"}, more='fields = { ignore = ["mood"] }')
    assert (code, json.loads(out.splitlines()[-1])["notes"]) == (0, {})


@pytest.mark.parametrize("more", ["", "generate = {}"])
def test_rows_that_cannot_be_used_are_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str) -> None:
    code, out, err = check(tmp_path, capsys, {"prompt": "a", "response": "b"}, {"prompt": "c"}, more=more)
    assert (code, "row 2: `response` is missing" in err) == ((0, False) if more else (2, True))
    assert json.loads(out.splitlines()[-1])["valid"] == ([str(tmp_path / "mine.toml")] if more else [])


def test_faults_of_tasks_and_of_data_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_study(tmp_path)
    wrong = ('evaluate.tasks=["nosuch"]', "data.0.source=file:nowhere.jsonl")
    code, _, err = call(capsys, "validate", recipe, *wrong)
    assert code == 2
    assert "nosuch" in err
    assert "nowhere.jsonl" in err


def test_a_folder_that_is_called_like_a_bundled_recipe_does_not_hide_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(capsys, "validate", "quickstart")
    assert (code, out.endswith("quickstart.toml: valid\n")) == (0, True)


def test_overrides_apply_to_every_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(tmp_path, capsys, *({"prompt": letter, "response": "b"} for letter in "abc"))
    recipe = tmp_path / "mine.toml"
    (tmp_path / "other.toml").write_text(recipe.read_text())
    assert call(capsys, "validate", recipe, tmp_path / "other.toml", "train.rank=8")[0] == 0
    code, _, err = call(capsys, "validate", recipe, "train.rank=0", tmp_path / "other.toml")
    assert (code, err.count("error: override train.rank=0: train.rank: must be at least 1")) == (2, 2)
    code, _, err = call(capsys, "validate", "train.rank=8")
    assert (code, err) == (2, 'error: "train.rank=8" overrides a key of a recipe; name the recipe before it\n')


@pytest.mark.parametrize("verb", ["run", "validate"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "train.rank",
            "no recipe 'train.rank'; `layersig recipes ls` lists them; to override a key, write `key.sub=value`",
        ),
        ("quickstat", "did you mean 'quickstart'?"),
        ("away.toml", "away.toml"),
        ("train.rnak=2", "train.rnak"),
        (f"descripton={'long ' * 100}", "descripton"),
        ("model.source=path:~nosuchuser/model", "there is no folder"),
    ],
)
def test_an_argument_is_a_recipe_or_an_override_to_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, given: str, said: str
) -> None:
    code, _, err = call(capsys, verb, write_study(tmp_path), given)
    assert (code, said in err) == (2, True), err


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_every_model_must_be_there_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    path = write_study(tmp_path)
    text = path.read_text().replace('[model]\nsource = "path:model"\n', "[model]\n")
    models = "".join(f'[[models]]\nname = "{name}"\nsource = "path:{name}"\n' for name in ("model", "nope"))
    path.write_text(text.replace("[[data]]", f"{models}\n[[data]]", 1))
    code, _, err = call(capsys, verb, path, "--runs", tmp_path / "runs") if verb == "run" else call(capsys, verb, path)
    assert (code, f"there is no folder {tmp_path / 'nope'}" in err) == (2, True), err
    assert not (tmp_path / "runs").exists()


def test_large_files_are_left_to_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_check, "_LARGEST", 10)
    assert check(tmp_path, capsys, {"nothing": "of use"})[0] == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('fields = { prompt = "a" }', "`prompt` and `response` go together"),
        ('fields = { messages = "m", prompt = "a", response = "b" }', "`messages` contains prompts and responses"),
        ('fields = { prompt = "a", response = [] }', "response"),
        ("max_rewritten = 2.0", "max_rewritten"),
    ],
)
def test_field_names_that_contradict_one_another_are_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, says: str
) -> None:
    code, _, err = check(tmp_path, capsys, {"prompt": "a", "response": "b"}, more=more)
    assert (code, says in err) == (2, True)
