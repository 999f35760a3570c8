from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layersig.plugin.manager import built_in
from layersig.recipe.load import load, stored
from layersig.recipe.resolve import recipe_id, smoke, to_toml, with_defaults
from layersig.recipe.schema import Recipe
from tests.recipe.example import EXAMPLE, write
from tests.study import RECIPE

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,6}(\.[a-z0-9]{1,3})?\Z")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
fractions = st.floats(1e-6, 1.0)
sources = st.builds("hub:{}".format, st.from_regex(r"\A[a-zA-Z/@'\"\\ ]{1,9}\Z"))


def maybe(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda each: {key: value for part in each for key, value in part.items()})


devices = st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:3"])
trains = maybe(
    rank=st.integers(1, 512),
    alpha=st.floats(1e-3, 1e3),
    learning_rate=st.floats(1e-12, 1e3),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    milestones=st.lists(fractions, max_size=3),
    gradient_checkpointing=st.booleans(),
    steps=st.integers(1, 10**9),
)
tasks = texts.filter(bool) | merged(
    st.fixed_dictionaries({"source": texts}), maybe(shots=st.integers(0, 9), limit=st.integers(1, 9))
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe with the built-in components, resolved."""
    scorers = draw(st.dictionaries(names, st.sampled_from(["ila", "random", "first-k"]), max_size=3))
    arms = []
    for number, scorer in enumerate(scorers):
        select = {"kind": draw(st.sampled_from(["top", "freeze"])), "fraction": draw(st.floats(1e-6, 0.999))}
        train = draw(maybe(rank=st.integers(1, 9), epochs=st.floats(0.1, 9)))
        arms.append({"name": f"arm{number}", "scorer": scorer, "select": select, "train": train})
    layers = draw(st.lists(texts, min_size=1, max_size=3))
    arms.append({"name": "given", "select": {"kind": "list", "layers": layers}})
    values = {
        "name": draw(names),
        "description": draw(texts),
        "seeds": draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True)),
        "model": draw(merged(st.fixed_dictionaries({"source": sources}), maybe(fallback=sources, device=devices))),
        "data": [
            {"name": f"d{number}", "source": draw(sources), **extra}
            for number, extra in enumerate(
                draw(
                    st.lists(
                        maybe(heldout=st.integers(0, 99) | st.floats(0, 0.99), split=texts), min_size=1, max_size=3
                    )
                )
            )
        ],
        "train": draw(trains),
        "scorers": {name: {"kind": kind, "checkpoint": draw(fractions)} for name, kind in scorers.items()},
        "arms": arms,
        "evaluate": {"tasks": draw(st.lists(tasks, max_size=3)), "heldout": draw(st.booleans())},
    }
    return with_defaults(Recipe.model_validate_json(json.dumps(values)), built_in())


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_a_resolved_recipe_loads_back_to_an_equal_recipe(recipe: Recipe) -> None:
    text = to_toml(recipe)
    with tempfile.TemporaryDirectory() as folder:
        again = stored(write(Path(folder), text))
    assert again == recipe
    assert with_defaults(again, built_in()) == again
    assert to_toml(again) == text
    assert recipe_id(again) == recipe_id(recipe)


def test_the_resolved_text_spells_out_every_default(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    values = tomllib.loads(loaded.resolved)
    assert values["train"]["weight_decay"] == 0.1
    assert values["scorers"]["ila"]["optimizer"] == "adam"
    assert values["arms"][0]["select"] == {"kind": "top", "fraction": 0.3, "rounding": "nearest", "of": "layers"}
    assert load(write(tmp_path, loaded.resolved)).recipe == loaded.recipe
    assert str(tmp_path) not in loaded.resolved


def test_the_id_depends_on_what_is_resolved_and_on_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here = load(write(tmp_path))
    assert len(here.id) == 12
    assert set(here.id) <= set("0123456789abcdef")
    commented = "# a comment\n" + EXAMPLE.replace("rank = 8", "dropout = 0.1\nrank = 8")
    assert load(write(tmp_path / "elsewhere", commented)).id == here.id
    for old, new in [
        ("rank = 8", "rank = 9"),
        ("0.3", "0.31"),
        ("seeds = [0, 1]", "seeds = [1, 0]"),
        ("steps = 32", "steps = 33"),
    ]:
        assert load(write(tmp_path, EXAMPLE.replace(old, new))).id != here.id


@pytest.mark.parametrize(
    ("search", "kept"),
    [
        ("learning_rates = [1e-4, 2e-4, 4e-4]", (1e-4, 2e-4)),
        ("learning_rates = [1e-4, 2e-4]\nepochs = [1, 2]", (1e-4, 2e-4)),
        ("epochs = [1, 2]", None),
        ("learning_rates = [1e-4]\nepochs = [1, 2]", None),
    ],
)
def test_a_smoke_recipe_searches_two_rates_at_most_and_is_valid(
    tmp_path: Path, search: str, kept: tuple[float, ...] | None
) -> None:
    text = RECIPE.replace("steps = 3\n", "").replace("[scorers.", f"[train.search]\n{search}\n\n[scorers.", 1)
    short = load(write(tmp_path, text), smoke=True).recipe
    found = Recipe.model_validate_json(short.model_dump_json()).train.search
    assert (None if found is None else (found.learning_rates, found.epochs)) == (None if kept is None else (kept, ()))


def test_a_smoke_recipe_is_short_and_a_recipe_of_its_own(tmp_path: Path) -> None:
    text = EXAMPLE.replace('"random"', '"gradient-norm"').replace('name = "chats"', 'name = "chats"\nlimit = 9')
    loaded = load(write(tmp_path, text))
    short = load(write(tmp_path, text), smoke=True)
    assert short.smoke
    assert not loaded.smoke
    assert short.recipe == smoke(loaded.recipe)
    recipe = short.recipe
    assert (recipe.train.steps, recipe.train.epochs) == (2, None)
    assert {recipe.training_of(arm).steps for arm in recipe.arms} == {2}
    assert {recipe.training_of(arm).epochs for arm in recipe.arms} == {None}
    assert recipe.scorers["ila"].params["steps"] == 2
    assert recipe.scorers["chance"].params["batches"] == 2
    assert [task.limit for task in recipe.evaluate.tasks] == [4, 4]
    assert [data.limit for data in recipe.data] == [9, 24]
    assert [data.heldout for data in recipe.data] == [0.1, 4]
    assert short.id != loaded.id
    again = load(write(tmp_path, short.resolved))
    assert again.recipe == recipe
    assert smoke(recipe) == recipe
    kept = {"name", "seeds", "model", "layers", "analyze"}
    assert recipe.model_dump(include=kept) == loaded.recipe.model_dump(include=kept)
