"""Keys and values that people know from other tools are answered with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.foreign import KNOWN
from layersig.recipe.load import load
from layersig.recipe.schema import DataSettings, EvaluateSettings, ModelSettings, Recipe, TrainSettings
from tests.study import RECIPE

TABLES = {"model": ModelSettings, "data": DataSettings, "train": TrainSettings, "evaluate": EvaluateSettings}


def fault(folder: Path, *changes: tuple[str, str]) -> str:
    """What a recipe with these changes is refused with."""
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "recipe.toml").write_text(text)
    with pytest.raises(UserError) as refused:
        load(folder / "recipe.toml")
    return str(refused.value)


def test_what_foreign_names_lead_to_exists_and_is_no_foreign_name() -> None:
    for name, key in KNOWN.items():
        table, _, leaf = key.rpartition(".")
        fields = TABLES[table].model_fields if table else Recipe.model_fields
        assert leaf in fields, key
        assert all(name not in each.model_fields for each in (*TABLES.values(), Recipe)), name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("lr = 1e-4", "train.lr: unknown key; write `learning_rate`"),
        ("lora_alpha = 8", "train.lora_alpha: unknown key; write `alpha`"),
        ("max_seq_length = 512", "train.max_seq_length: unknown key; write `max_tokens` in [[data]]"),
        ("target_modules = ['q_proj']", "layers are chosen by `select` of an [[arms]] entry"),
        ("gradient_accumulation_steps = 4", "write `batch_size` in [train]"),
        ("dtype = 'float32'", "train.dtype: unknown key; `dtype` belongs to [model]"),
        ("rnak = 3", 'did you mean "rank"?'),
    ],
)
def test_unknown_keys_of_train(tmp_path: Path, line: str, told: str) -> None:
    assert told in fault(tmp_path, ("rank = 2", f"rank = 2\n{line}"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("epochs = 3", "epochs: unknown key; `epochs` belongs to [train]"),
        ("lr = 1e-4", "lr: unknown key; write `learning_rate` in [train]"),
        ("seed = 1", "write `seeds = [0]` at the top of the recipe"),
        ("model_name_or_path = 'x/y'", "write `source` in [model]"),
        ("tasks = ['mmlu']", "`tasks` belongs to [evaluate]"),
    ],
)
def test_unknown_keys_at_the_top(tmp_path: Path, line: str, told: str) -> None:
    assert told in fault(tmp_path, ('name = "tiny"', f'name = "tiny"\n{line}'))


def test_keys_of_train_in_an_arm_are_answered_as_in_train(tmp_path: Path) -> None:
    told = fault(tmp_path, ('action = "graft"', "train = { lr = 1e-4 }"))
    assert "arms.2.train.lr: unknown key; write `learning_rate`" in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("fraction = 0.30", "fraction = 30", "must be at most 1; got 30; for 30 % write 0.3"),
        ("fraction = 0.30", 'fraction = "30%"', 'got "30%" (a string); write 0.3'),
        ("fraction = 0.30", 'fraction = "0.3"', "write 0.3"),
        ("seeds = [0]", "seeds = 3", "write [0, 1, 2] for 3 training runs, or [3] for the seed 3"),
        ('tasks = ["file:choice.yaml"]', 'tasks = "mmlu"', 'must be a list; got "mmlu" (a string); write ["mmlu"]'),
        ('"path:model"', '"org/model-1.5B"', 'for the Hugging Face hub write "hub:org/model-1.5B"'),
        ('"path:model"', '"gpt2"', 'for the Hugging Face hub write "hub:gpt2"'),
        ('"path:model"', '"./model"', 'write "path:./model"'),
        ('"file:chats.jsonl"', '"chats.jsonl"', 'write "file:chats.jsonl"'),
    ],
)
def test_values_of_another_form(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in fault(tmp_path, (old, new))


def test_a_table_where_a_list_of_tables_belongs(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.partition("[[arms]]")[0] + '[arms]\nname = "x"\nscorer = "ila"\n')
    with pytest.raises(UserError, match=r"arms: must be a list; got a table; write `\[\[arms\]\]`, once"):
        load(path)


@pytest.mark.parametrize(
    ("old", "new"), [("fraction = 0.30", "fraction = 300"), ('"path:model"', '"two words"'), ("rank = 2", "rank = 0")]
)
def test_nothing_is_guessed_where_nothing_is_known(tmp_path: Path, old: str, new: str) -> None:
    told = fault(tmp_path, (old, new))
    assert "write" not in told
    assert "belongs" not in told
