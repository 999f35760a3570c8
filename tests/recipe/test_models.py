from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from layersig.errors import UserError
from layersig.plugin.manager import built_in
from layersig.recipe.json_schema import json_schema
from layersig.recipe.load import load, load_all
from tests.recipe.example import line_of

TEXT = """\
name = "several"
seeds = [0, 1]

[model]
dtype = "float32"

[[models]]
name = "small"
source = "hub:org/small"

[[models]]
name = "large"
source = "hub:org/large"
dtype = "bfloat16"

[[data]]
name = "chats"
source = "hub:org/chats"

[scorers.ila]
kind = "ila"
grid.checkpoint = [0.5, 1.0]
"""


def write(folder: Path, text: str = TEXT) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_model_makes_a_recipe_of_its_own(tmp_path: Path) -> None:
    found = load_all(write(tmp_path))
    assert [(each.of_model, each.recipe.name) for each in found] == [
        ("small", "several-small"),
        ("large", "several-large"),
    ]
    assert [(each.recipe.model.source, each.recipe.model.dtype) for each in found] == [
        ("hub:org/small", "float32"),
        ("hub:org/large", "bfloat16"),
    ]
    assert len({each.id for each in found}) == 2
    for each in found:
        again = write(tmp_path, each.resolved)
        assert load(again).recipe == each.recipe
        assert list(each.recipe.scorers) == ["ila-0.5", "ila-1"]


def test_a_recipe_with_one_model_is_one(tmp_path: Path) -> None:
    text = TEXT.replace('[[models]]\nname = "small"\nsource = "hub:org/small"\n', "").replace(
        '[[models]]\nname = "large"\nsource = "hub:org/large"\ndtype = "bfloat16"\n', ""
    )
    path = write(tmp_path, text.replace("[model]", '[model]\nsource = "hub:org/one"'))
    (found,) = load_all(path)
    assert found.of_model is None
    assert found.recipe == load(path).recipe


def test_overrides_reach_one_model_and_all_of_them(tmp_path: Path) -> None:
    found = load_all(write(tmp_path), ("models.1.source=hub:org/other", "model.attention=eager", "seeds=[5]"))
    assert [each.recipe.model.source for each in found] == ["hub:org/small", "hub:org/other"]
    assert {each.recipe.model.attention for each in found} == {"eager"}
    assert {each.recipe.seeds for each in found} == {(5,)}


@pytest.mark.parametrize(
    ("old", "new", "marker", "message"),
    [
        (
            '"hub:org/large"',
            '"hugs:org/large"',
            "hugs:",
            'models.1.source: there is no scheme "hugs". Allowed: hub, path, pypi',
        ),
        ('"bfloat16"', '"bf16"', "bf16", "models.1.dtype: must be"),
        ('dtype = "bfloat16"', 'dtipe = "bfloat16"', "dtipe", 'models.1.dtipe: unknown key; did you mean "dtype"'),
        ('name = "large"\n', "", "org/large", "models.1.name: missing"),
        ('"large"', '"Small"', '"Small"', 'models.1.name: "Small" is taken by an earlier entry of `models`'),
        ('source = "hub:org/large"\n', "", '"large"', "models.1.source: missing"),
        ('dtype = "float32"', 'dtype = "flot32"', "flot32", "model.dtype: must be"),
    ],
)
def test_faults_stand_where_the_model_is_written(tmp_path: Path, old: str, new: str, marker: str, message: str) -> None:
    text = TEXT.replace(old, new)
    with pytest.raises(UserError) as told:
        load_all(write(tmp_path, text))
    assert message in str(told.value)
    if "missing" not in message:
        assert f"study.toml:{line_of(text, marker)}: " in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "overrides", "told"),
    [
        ('dtype = "float32"\n', 'source = "hub:org/shared"\n', (), "study.toml:5: model.source"),
        ("", "", ("model.source=hub:org/one",), "override model.source=hub:org/one: model.source"),
        ('"hub:org/small"', '"hub:org/small"\ndtype = "float64"', (), "study.toml:5: model.dtype"),
    ],
)
def test_a_shared_key_that_every_model_has_of_its_own_is_refused(
    tmp_path: Path, old: str, new: str, overrides: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UserError) as raised:
        load_all(write(tmp_path, TEXT.replace(old, new, 1)), overrides)
    key = told.rpartition(".")[2]
    reason = f"every entry of `models` has its own; set `models.NAME.{key}`, or remove it here"
    assert str(raised.value).removeprefix(f"{tmp_path}/") == f"{told}: {reason}"


@pytest.mark.parametrize("models", ["models = []\n", 'models = "a"\n', "models = [1]\n"])
def test_what_is_no_list_of_models_is_refused(tmp_path: Path, models: str) -> None:
    text = models + TEXT.split("[model]")[0] + "[[data]]" + TEXT.split("[[data]]")[1]
    with pytest.raises(UserError, match="models"):
        load_all(write(tmp_path, text))


def test_a_recipe_with_several_models_is_no_single_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this recipe has several models"):
        load(write(tmp_path))


def test_editors_accept_what_loads() -> None:
    schema = jsonschema.Draft202012Validator(json_schema(built_in()))
    assert list(schema.iter_errors(tomllib.loads(TEXT))) == []
    one = tomllib.loads(TEXT)
    del one["models"]
    assert list(schema.iter_errors(one)), "`model.source` is missing"
    del one["model"]
    assert list(schema.iter_errors(one)), "`model` is missing"
