"""`layersig validate` finds what would stop a run before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layersig.recipe.load import load
from tests.study import RECIPE, call, write_study
from tests.tiny import save_tiny


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"path:model"', '"path:nowhere"', "recipe.toml:5: model.source: there is no folder"),
        ('"file:chats.jsonl"', '"file:nothing.jsonl"', "data.0.source: there is no file"),
        ("heldout = 6", "heldout = 24", "data.0: data chats: 24 conversations in 24 groups"),
        ("heldout = 6", "heldout = 6\nlimit = 6", "6 conversations in 6 groups"),
        ('dtype = "float32"', 'chat_template = "file:broken.jinja"', "model.chat_template: line 2 of the template"),
        (
            'dtype = "float32"',
            'chat_template = "file:strict.jinja"',
            "row 1 of data chats: no user",
        ),
        ('"file:choice.yaml"', '"hellaswagg"', "did you mean hellaswag"),
        ("heldout = 6", "heldout = 0.999", "leave none to train on once at least 24"),
        (
            "heldout = 6",
            "heldout = 6\ntrain_limit = 100",
            "`train_limit = 100` asks for more conversations than the 18",
        ),
        ("heldout = 6", 'heldout = 6\ngroup_by = "topic"', "`group_by`: no row has the field `topic`"),
        ('"path:model"', '"path:empty"', "has no config.json"),
        ('"path:model"', '"hub:a/b/c"', "recipe.toml:5: model.source: hub:a/b/c cannot be the name of a repository"),
        ('"file:chats.jsonl"', '"file:empty"', "is a folder; name a file in it"),
        ("[scorers.ila]", '[update]\nsource = "path:empty"\n\n[scorers.ila]', "recipe.toml:22: update.source: "),
    ],
)
def test_what_cannot_run_is_found_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    write_study(tmp_path, recipe=RECIPE.replace(old, new))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jinja").write_text("{{ bos_token }}\n{% for message in messages %}")
    refuses = "{% if message.role == 'user' %}{{ raise_exception('no user') }}{% endif %}"
    (tmp_path / "strict.jinja").write_text(f"{{% for message in messages %}}{refuses}{{% endfor %}}")
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, told in err) == (2, True), err


def test_rows_that_cannot_be_used_are_listed_below_their_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path)
    with (tmp_path / "chats.jsonl").open("a") as file:
        file.write("{\n[]\n")
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "\n    row 25: it is not JSON" in err, "\n    row 26: it is a list" in err) == (2, True, True), err
    assert "\\n" not in err


def test_copies_leave_nothing_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path)
    line = (tmp_path / "chats.jsonl").read_text().splitlines()[0] + "\n"
    (tmp_path / "chats.jsonl").write_text(24 * line)
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "1 groups of equal prompts or labels (copies dropped: 23)" in err) == (2, True), err


def test_the_template_of_a_local_model_is_tried_on_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% if messages %}{{ raise_exception('never') }}{% endif %}"
    )
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "the template refuses the conversation of row 1 of data chats: never" in err) == (2, True), err


def test_all_that_is_missing_is_told_at_once_unless_something_stands_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RECIPE.replace('"path:model"', '"path:nowhere"').replace('"file:chats.jsonl"', '"file:nothing.jsonl"')
    write_study(tmp_path, recipe=text)
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, err.count("there is no ")) == (2, 2)
    stand_in = text.replace('"path:nowhere"', '"path:nowhere"\nfallback = "path:model"')
    stand_in = stand_in.replace('"file:nothing.jsonl"', '"file:nothing.jsonl"\nfallback = "file:chats.jsonl"')
    (tmp_path / "recipe.toml").write_text(stand_in)
    assert call(capsys, "validate", tmp_path / "recipe.toml")[0] == 0


def test_arms_on_which_nothing_is_measured_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, recipe=RECIPE.replace('tasks = ["file:choice.yaml"]', "heldout = false"))
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "nothing is measured on them" in err) == (0, True)


@pytest.mark.parametrize("key", ["heldout", "all_layers"])
def test_a_measurement_that_is_asked_for_and_never_taken_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    scores = RECIPE[: RECIPE.index("[[arms]]")]
    path = write_study(tmp_path, recipe=f"{scores}[evaluate]\n{key} = true\n")
    code, _, err = call(capsys, "validate", path)
    assert (code, f"recipe.toml:27: evaluate.{key} = true measures nothing without [[arms]]" in err) == (0, True), err
    for quiet in (scores, f"{scores}[evaluate]\n{key} = false\n", load(path).resolved):
        path.write_text(quiet)
        assert "measures nothing" not in call(capsys, "validate", path)[2]


def test_grafts_beside_an_update_from_elsewhere_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny(tmp_path / "tuned", "llama", seed=1)
    write_study(tmp_path, recipe=RECIPE.replace("[train]", '[update]\nsource = "path:tuned"\n\n[train]'))
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "grafts keep that of the reference training of [train]" in err) == (0, True), err


def test_an_arm_by_two_names_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm = RECIPE[RECIPE.index("[[arms]]") : RECIPE.index("[[arms]]", RECIPE.index("[[arms]]") + 1)]
    write_study(tmp_path, recipe=RECIPE.replace("[evaluate]", arm.replace('"ila-30"', '"twin"') + "[evaluate]"))
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    assert (code, "arm twin is ila-30 by another name" in err) == (0, True), err


@pytest.mark.parametrize(
    ("train", "arm", "told"),
    [
        ("", "", []),
        ('method = "full"', "", ['recipe.toml:15: method = "full"']),
        ('method = "full"\nlearning_rate = 1e-5', "", []),
        ('method = "full"\nsearch = { learning_rates = [1e-5, 2e-5] }', "", []),
        ('method = "full"\nsearch = { epochs = [1, 2] }', "", ['recipe.toml:15: method = "full"']),
        ('objective = "simpo"', "", ['recipe.toml:15: objective = "simpo"']),
        ('objective = "dpo"', 'train = { method = "full" }', ['objective = "dpo"', 'method = "full"']),
        ('objective = "dpo"\nlearning_rate = 2e-5', 'train = { method = "full" }', []),
        ("", 'train = { method = "full" }', ['recipe.toml:36: method = "full"']),
        ("", 'train = { method = "full", learning_rate = 1e-5 }', []),
    ],
)
def test_a_default_learning_rate_that_is_far_too_high_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train: str, arm: str, told: list[str]
) -> None:
    kept = "steps = 3\n" if "epochs" not in train else ""
    shared = f"[train]\n{train}\n{kept}"
    recipe = RECIPE[: RECIPE.index("[train]")] + shared + "\n" + RECIPE[RECIPE.index("[scorers.") :]
    recipe = recipe.replace('action = "graft"\n', arm + "\n")
    write_study(tmp_path, recipe=recipe)
    if "objective" in train:
        rows = [
            json.dumps({"prompt": f"p{number}", "chosen": f"good {number}", "rejected": f"bad {number}"})
            for number in range(24)
        ]
        (tmp_path / "chats.jsonl").write_text("\n".join(rows))
    code, _, err = call(capsys, "validate", tmp_path / "recipe.toml")
    notes = [line for line in err.splitlines() if "with the default learning_rate, 0.0002" in line]
    assert (code, len(notes)) == (0, len(told)), err
    assert all(part in note for part, note in zip(told, notes, strict=True)), err
