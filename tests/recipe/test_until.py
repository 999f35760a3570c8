"""What a reference training that ends where the ranking is stable goes with."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load

RECIPE = """\
name = "study"
[model]
source = "path:model"
[[data]]
name = "chats"
source = "file:chats.jsonl"
{update}
[train]
{train}
[scorers.ila]
kind = "ila"
{scorer}
{more}
"""
ARM = '[[arms]]\nname = "a"\nscorer = "ila"\nselect = { kind = "top", fraction = 0.3 }\n'
ALONE = "[evaluate]\nall_layers = false\n"
STEADY = 'schedule = "constant"\nuntil = "rank-stable"\n'


def faults(tmp_path: Path, train: str, scorer: str = "", more: str = "", update: str = "") -> list[str]:
    path = tmp_path / "study.toml"
    path.write_text(RECIPE.format(train=train, scorer=scorer, more=more, update=update))
    try:
        load(path)
    except UserError as error:
        return [line for line in str(error).splitlines() if ": " in line]
    return []


@pytest.mark.parametrize("train", [STEADY, STEADY + "warmup_ratio = 0.1\n", STEADY + 'method = "adalora"\n'])
def test_a_constant_rate_without_arms_is_accepted(tmp_path: Path, train: str) -> None:
    assert faults(tmp_path, train) == []
    assert faults(tmp_path, train, more=ARM + ALONE) == []


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"train": 'until = "rank-stable"\n'}, "train.until", 'needs schedule = "constant"'),
        ({"train": 'schedule = "linear"\nuntil = "rank-stable"\n'}, "train.until", 'needs schedule = "constant"'),
        ({"train": 'schedule = "constant"\nuntil = "stable"\n'}, "train.until", '"rank-stable"'),
        ({"train": STEADY + 'method = "full"\n'}, "train.until", "needs an update of factors"),
        ({"train": STEADY + "milestones = [0.5]\n"}, "train.milestones", "remove one of them"),
        ({"train": STEADY + "search = { learning_rates = [1e-4, 1e-3] }\n"}, "train.search", "remove one of them"),
        ({"train": STEADY, "scorer": "checkpoint = 0.25"}, "scorers.ila.checkpoint", "where the training ended"),
        ({"train": STEADY, "more": ARM}, "train.until", "saves nothing while `all-layers` takes"),
        (
            {"train": STEADY, "more": '[evaluate]\ntasks = ["pypi:arc_easy"]\n'},
            "train.until",
            "saves nothing while `all-layers` takes",
        ),
        ({"train": STEADY, "more": ARM + 'action = "graft"\n' + ALONE}, "train.until", "a graft keeps the update"),
        (
            {"train": "", "more": ARM + ALONE + '[analyze]\nbaseline = "all-layers"\n'},
            "analyze.baseline",
            "is not measured with evaluate.all_layers = false",
        ),
        ({"train": STEADY, "update": '[update]\nsource = "path:adapter"\n'}, "train.until", "no reference training"),
    ],
)
def test_what_it_does_not_go_with_is_one_fault(tmp_path: Path, given: dict[str, str], key: str, words: str) -> None:
    (fault,) = faults(tmp_path, **given)
    assert key in fault
    assert words in fault


@pytest.mark.parametrize("where", ["train", "recover"])
def test_an_arm_cannot_end_early(tmp_path: Path, where: str) -> None:
    prune = 'action = "prune"\n' if where == "recover" else ""
    arm = ARM + prune + f'{where} = {{ until = "rank-stable" }}\n'
    found = faults(tmp_path, 'schedule = "constant"\n', more=arm)
    assert any(
        f"arms.0.{where}.until" in fault and "only the reference training can end early" in fault for fault in found
    )
