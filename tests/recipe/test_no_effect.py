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


HUB = EXAMPLE.replace("[[data]]", '[[data]]\nsplit = "test"', 1)
PISSA = EXAMPLE.replace("rank = 8", 'rank = 8\nmethod = "pissa"\npissa = { iterations = 4 }')


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (HUB, ("data.0.source=file:rows.jsonl",)),
        (PISSA, ("train.method=lora",)),
        (PISSA.replace("rank = 8", "rank = 8\ndropout = 0.0"), ("train.method=dora",)),
        (EXAMPLE + '[scorers.x]\nkind = "ila"\ncheckpoint = 0.5\n', ("scorers.x.kind=gradient-norm",)),
    ],
)
def test_an_override_may_take_the_effect_of_a_key_away(tmp_path: Path, text: str, overrides: tuple[str, ...]) -> None:
    load(write(tmp_path, text), overrides)


def scored(keys: str) -> str:
    return EXAMPLE + f"\n[scorers.x]\n{keys}\n"


def test_a_grid_may_take_the_effect_of_a_key_away_in_some_copies(tmp_path: Path) -> None:
    for keys in (
        'grid.kind = ["ila", "gradient-norm"]\ncheckpoint = 0.5',
        'grid.kind = ["ila", "weight-change"]\nstream = 1',
    ):
        load(write(tmp_path, scored(keys)))
    for keys in ('kind = "gradient-norm"\ncheckpoint = 0.5', 'kind = "weight-change"\nstream = 1'):
        with pytest.raises(UserError, match=r"scorers\.x\."):
            load(write(tmp_path, scored(keys)))
    with pytest.raises(UserError, match=r"scorers\.x\.grid\.checkpoint\.0: .*reads no update"):
        load(write(tmp_path, scored('kind = "gradient-norm"\ngrid.checkpoint = [0.5, 1.0]')))
    with pytest.raises(UserError, match=r"override scorers\.x\.checkpoint=0\.5.*reads no update"):
        load(write(tmp_path, scored('kind = "gradient-norm"')), ("scorers.x.checkpoint=0.5",))


BARE = """\
name = "bare"

[model]
source = "path:m"

[[data]]
name = "a"
source = "file:a.jsonl"

[evaluate]
tasks = ["pypi:arc_easy"]
"""


def test_a_recipe_may_measure_the_model_and_all_layers_alone(tmp_path: Path) -> None:
    assert load(write(tmp_path, BARE)).recipe.measures
    with pytest.raises(UserError, match="nothing to do"):
        load(write(tmp_path, BARE.partition("[evaluate]")[0]))


def test_all_layers_are_no_primary_arm_beside_themselves(tmp_path: Path) -> None:
    declared = BARE + '[analyze]\nprimary = ["all-layers"]\noutcome = "arc_easy"\n'
    with pytest.raises(UserError, match='"all-layers" is the baseline, which cannot be compared with itself'):
        load(write(tmp_path, declared))
    assert load(write(tmp_path, declared + 'baseline = "base"\n')).recipe.analyze.primary == ("all-layers",)


def test_a_primary_arm_is_not_declared_again_the_other_way_round(tmp_path: Path) -> None:
    text = EXAMPLE + 'primary = ["ila-30"]\ncontrasts = [["control", "ila-30"]]\n'
    with pytest.raises(UserError, match='"ila-30" is primary, so it is compared with "control" already'):
        load(write(tmp_path, text))
