"""Keys beside others that take their effect away are refused, and resolved recipes with their defaults are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load
from tests.recipe.example import EXAMPLE, write
from tests.recipe.test_judge import FULL


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("data.1.split=test",), "data.1.split: only `hub:` sources have splits"),
        (("data.0.source=pypi:alpaca-gpt4-sample", "data.0.split=test"), "data.0.split: only `hub:`"),
        (("evaluate.conversations.1.split=test",), "evaluate.conversations.1.split: only `hub:` sources"),
        (("evaluate.answers.top_p=0.9",), "evaluate.answers.top_p: sets how text is drawn, and temperature 0 draws"),
        (("data.0.generate={temperature=0, top_p=0.9}",), "data.0.generate.top_p: sets how text is drawn"),
        (("data.0.generate={temperature=0.0, top_k=40}",), "data.0.generate.top_k: sets how text is drawn"),
        (("evaluate.memorisation=true", "evaluate.tasks=[]"), "evaluate.memorisation: asks whether the items of tasks"),
    ],
)
def test_a_key_without_effect_is_one_fault(tmp_path: Path, overrides: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError) as raised:
        load(write(tmp_path, FULL), overrides)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.0.split=test",),
        ("data.1.split=test", "data.1.fallback=hub:org/rows"),
        ("data.1.split=train",),
        ("evaluate.answers={temperature=0.7, top_p=0.9}",),
        ("data.0.generate={top_p=0.9, top_k=40}",),
        ("data.0.generate={temperature=0}",),
        ("evaluate.memorisation=true",),
    ],
)
def test_where_it_has_one_it_is_accepted(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    loaded = load(write(tmp_path, EXAMPLE), overrides)
    assert load(write(tmp_path, loaded.resolved)).recipe == loaded.recipe
