from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import LoadedRecipe, load
from tests.recipe.example import EXAMPLE, write


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in a folder, while the working directory is another one beside it."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return write(tmp_path / "recipes")


def overridden(at: Path, *overrides: str) -> LoadedRecipe:
    return load(at, overrides)


def fault(at: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(at, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_are_toml_then_strings(at: Path) -> None:
    recipe = overridden(
        at,
        "train.rank=16",
        "train.learning_rate=1e-5",
        "train.gradient_checkpointing=true",
        "description=two words = fine",
        'data.0.split="test"',
        "data.0.group_by=tree_id",
        "model.device=cuda:1",
        " train . dropout = 0.25 ",
    ).recipe
    assert (recipe.train.rank, recipe.train.learning_rate, recipe.train.dropout) == (16, 1e-5, 0.25)
    assert recipe.train.gradient_checkpointing is True
    assert recipe.description == "two words = fine"
    assert (recipe.data[0].split, recipe.data[0].group_by, recipe.model.device) == ("test", "tree_id", "cuda:1")
    assert overridden(at, "description=1979-05-27").recipe.description == "1979-05-27"
    assert overridden(at, "description=x\nseeds = [5]").recipe.seeds == (0, 1)


def test_lists_are_replaced_and_tables_are_made(at: Path) -> None:
    recipe = overridden(
        at,
        "seeds=[7]",
        'evaluate.tasks=["piqa", {source="arc_easy", limit=3}]',
        "arms.0.train.rank=4",
        "arms.0.select={kind='freeze', fraction=0.25}",
        "scorers.late.kind=last-k",
    ).recipe
    assert recipe.seeds == (7,)
    assert [(task.source, task.limit) for task in recipe.evaluate.tasks] == [("piqa", None), ("arc_easy", 3)]
    assert recipe.arms[0].train == {"rank": 4}
    assert recipe.arms[0].select.params == {"fraction": 0.25, "rounding": "nearest"}
    assert recipe.scorers["late"].kind == "last-k"


def test_entries_of_lists_are_named_by_number_or_name(at: Path) -> None:
    by_number = overridden(at, "data.1.limit=5", "arms.0.select.fraction=0.5").recipe
    first = by_number.arms[0].name
    by_name = overridden(at, "data.local.limit=5", f"arms.{first}.select.fraction=0.5").recipe
    assert by_name == by_number
    assert fault(at, "arms.ila-30.select.fraction=30") == (
        "override arms.ila-30.select.fraction=30: arms.0.select.fraction: must be at most 1; got 30; for 30 % write 0.3"
    )


def test_a_later_override_wins(at: Path) -> None:
    assert overridden(at, "train.rank=1", "train={rank=2}").recipe.train.rank == 2
    assert fault(at, "train.rank=1", "train={rank=0}").startswith("override train={rank=0}: train.rank: must be")
    assert fault(at, "train={rank=0}", "train.alpha=0", "train.rank=3").startswith(
        "override train.alpha=0: train.alpha"
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.rnak=8", 'override train.rnak=8: train.rnak: unknown key; did you mean "rank"? Allowed: method, rank,'),
        ("trian.rank=8", 'override trian.rank=8: trian: unknown key; did you mean "train"?'),
        ("train.rank=x", 'override train.rank=x: train.rank: must be a whole number; got "x" (a string)'),
        ("train.dropout=nan", "override train.dropout=nan: train.dropout: must be a finite number; got nan"),
        ("arms.0.select.fraction=1.2", "arms.0.select.fraction: must be at most 1; got 1.2"),
        ("arms.0.select.fractoin=0.2", 'unknown key; did you mean "fraction"? Allowed: fraction, rounding, of'),
        ("arms.0.select.kind=tops", 'there is no policy "tops"; did you mean "top"?'),
        ("scorers.ila.kind=illa", 'override scorers.ila.kind=illa: scorers.ila.kind: there is no scorer "illa"'),
        ("data.2.source=file:x", "`data` is a list: name an entry by its number (0 to 1) or its name (chats, local)"),
        ("data.chatz.source=file:x", "(0 to 1) or its name (chats, local), got `chatz`"),
        ("data.-1.source=file:x", "(0 to 1) or its name (chats, local), got `-1`"),
        ("plugins.0=x.py", "name an entry by its number (it has none), got `0`"),
        ("name.first=x", '`name` is "example" (a string), so it has no `first`'),
        ("evaluate.tasks.0.limit=3", '`evaluate.tasks.0` is "hellaswag" (a string), so it has no `limit`'),
        ("train.rank", "override train.rank: write `key.sub=value`"),
        ("=3", "override =3: write `key.sub=value`"),
        ("train..rank=3", "override train..rank=3: write `key.sub=value`"),
        ("name=../x", "override name=../x: name: must be letters, digits"),
        ("seeds=3", "override seeds=3: seeds: must be a list; got 3"),
        ("analyze.baseline=nobody", 'override analyze.baseline=nobody: analyze.baseline: there is no arm "nobody"'),
    ],
)  # fmt: skip
def test_a_fault_names_the_override(at: Path, override: str, words: str) -> None:
    assert words in fault(at, override)


def test_files_in_a_recipe_are_relative_to_it_and_in_an_override_to_the_working_directory(at: Path) -> None:
    here = at.parents[1] / "here"
    loaded = overridden(at, "data.0.source=file:rows.jsonl", "model.source=path:../model")
    assert loaded.base_dir == at.parent
    assert loaded.recipe.data[1].source == "file:rows.jsonl"

    def resolved(spec: str) -> Path:
        return (loaded.base_dir / spec.partition(":")[2]).resolve()

    assert resolved(loaded.recipe.data[0].source) == here / "rows.jsonl"
    assert resolved(loaded.recipe.model.source) == at.parents[1] / "model"
    assert str(at.parents[1]) not in loaded.resolved
    tasks = overridden(at, 'evaluate.tasks=["file:t.yaml", {source="file:/abs/u.yaml"}]').recipe.evaluate.tasks
    assert [task.source for task in tasks] == ["file:../here/t.yaml", "file:/abs/u.yaml"]
    data = overridden(at, "data=[{name='x', source='file:y.jsonl'}]").recipe.data
    assert data[0].source == "file:../here/y.jsonl"
    home = overridden(at, "model.source=path:~/model").recipe.model.source
    assert home == f"path:{Path('~/model').expanduser()}"


def test_plugin_files_of_an_override_are_relative_to_the_working_directory(at: Path) -> None:
    text = 'from layersig import scorer\n@scorer("mine")\ndef mine(context, steps: int = 3):\n    return {}\n'
    Path("mine.py").write_text(text)
    loaded = overridden(at, 'plugins=["mine.py"]', "scorers.ila={kind='mine'}")
    assert loaded.recipe.plugins == ("../here/mine.py",)
    assert loaded.recipe.scorers["ila"].params == {"steps": 3}
    assert fault(at, 'plugins=["none.py"]').startswith('override plugins=["none.py"]: plugins.0: plugin file ')


def test_an_override_without_effect_leaves_the_id(at: Path) -> None:
    assert overridden(at, "train.rank=8").id == overridden(at).id
    assert overridden(at, "train.rank=9").id != overridden(at).id
    assert "rank = 8" in EXAMPLE
