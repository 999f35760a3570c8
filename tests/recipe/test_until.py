"""What a reference training that ends where the ranking is stable, or has milestones, goes with."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.pipeline.study import Study
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


GRADIENTS = '[scorers.norm]\nkind = "gradient-norm"\n'
PRUNED = '[[arms]]\nname = "p"\nselect = { kind = "lowest", fraction = 0.3 }\nscorer = "blocks"\naction = "prune"\n'
BLOCKS = '[scorers.blocks]\nkind = "block-influence"\n'
UPDATE = '[update]\nsource = "path:adapter"\n'


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, True),
        ({"more": ARM}, True),
        ({"more": ARM + ALONE}, True),
        ({"update": UPDATE}, False),
        ({"update": UPDATE, "more": ARM}, True),
        ({"update": UPDATE, "more": ARM + ALONE}, False),
        ({"update": UPDATE, "more": ARM + 'action = "graft"\n' + ALONE}, True),
        ({"scorer": "train = { rank = 4 }"}, False),
        ({"scorer": "train = { rank = 4 }", "more": '[evaluate]\ntasks = ["pypi:arc_easy"]\n'}, True),
        ({"update": UPDATE, "more": BLOCKS + PRUNED}, False),
        ({"update": UPDATE, "more": BLOCKS + PRUNED + '[analyze]\nbaseline = "all-layers"\n'}, True),
        ({"update": UPDATE, "more": BLOCKS + PRUNED + "recover = {}\n"}, True),
    ],
)
def test_milestones_need_a_reference_training(tmp_path: Path, given: dict[str, str], read: bool) -> None:
    told = ["this recipe has no reference training, since nothing would read it; remove this key"] * (not read)
    found = faults(tmp_path, "milestones = [0.9]", **given)
    assert [fault.partition("train.milestones: ")[2] for fault in found] == told
    path = tmp_path / "study.toml"
    path.write_text(path.read_text().replace("milestones = [0.9]", ""))
    loaded = load(path)
    assert Study(loaded.recipe, loaded.components).trains_reference is read
    path.write_text(loaded.resolved)
    assert load(path).recipe == loaded.recipe


def test_an_early_end_needs_a_scorer_of_updates(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    text = RECIPE.format(train=STEADY, scorer="", more=ALONE, update="")
    path.write_text(text.replace('[scorers.ila]\nkind = "ila"\n', GRADIENTS))
    with pytest.raises(UserError, match=r"train\.until: this recipe has no reference training"):
        load(path)


@pytest.mark.parametrize("scorers", ["", GRADIENTS])
def test_an_update_that_no_scorer_reads_is_refused(tmp_path: Path, scorers: str) -> None:
    path = tmp_path / "study.toml"
    text = RECIPE.format(train="", scorer="", more="", update=UPDATE)
    path.write_text(text.replace('[scorers.ila]\nkind = "ila"\n', scorers))
    with pytest.raises(UserError, match="update: no scorer reads an update; remove") as told:
        load(path)
    assert "study.toml:7: update" in str(told.value)
