"""Keys of a scorer beside its parameters: a reference training of its own, and the stream of a repeat."""

from __future__ import annotations

from pathlib import Path

import pytest

from layersig.errors import UserError
from layersig.recipe.load import load

TEXT = """\
name = "study"
[model]
source = "path:model"
[[data]]
name = "d"
source = "file:d.jsonl"
[scorers.ila]
kind = "ila"
"""


def written(tmp_path: Path, more: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(TEXT + more)
    return path


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ('train = { mehtod = "full" }', "scorers.ila.train.mehtod", 'did you mean "method"?'),
        ('train = { rank = "x" }', "scorers.ila.train.rank", "must be a whole number"),
        ("train = { milestones = [0.5] }", "scorers.ila.train.milestones", "milestones belong to the reference"),
        ('train = { ranks = "scores" }', "scorers.ila.train.ranks", "gives all layers one rank"),
        ("train = { resample = { blocks = 2 } }", "scorers.ila.train.resample", "tunes all layers in every step"),
        (
            'train = { method = "full" }\n[update]\nsource = "path:u"',
            "scorers.ila.train",
            "remove this key, or [update]",
        ),
        (
            '[scorers.g]\nkind = "gradient-norm"\ntrain = { rank = 4 }',
            "scorers.g.train",
            "reads no update of a training",
        ),
        ('[scorers.f]\nkind = "first-k"\nstream = 1', "scorers.f.stream", "draws nothing at random"),
        ('[scorers.w]\nkind = "weight-change"\nstream = 1', "scorers.w.stream", "draws nothing at random"),
        ('[scorers.s]\nkind = "spectral"\nstream = 1', "scorers.s.stream", "draws nothing at random"),
        (
            '[scorers.a]\nkind = "ablation"\ntasks = ["pypi:arc_easy"]\nstream = 1',
            "scorers.a.stream",
            "draws nothing at random",
        ),
        (
            '[scorers.g]\nkind = "gradient-norm"\ncheckpoint = 0.5',
            "scorers.g.checkpoint",
            'scorer "gradient-norm" reads no update of a training; remove it',
        ),
        ('[scorers.g]\nkind = "gradient-norm"\ncheckpoint = [0.5, 1.0]', "scorers.g.checkpoint", "reads no update"),
        (
            '[scorers.g]\nkind = "gradient-norm"\ngrid.checkpoint = [0.5, 1.0]',
            "scorers.g.grid.checkpoint.0",
            "reads no update",
        ),
        ("stream = -1", "scorers.ila.stream", "must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, more: str, key: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, more))
    (fault,) = [line for line in str(caught.value).splitlines() if f": {key}: " in line]
    assert words in fault


@pytest.mark.parametrize(
    "more",
    [
        '[scorers.a]\nkind = "ablation"\nstream = 1',
        '[scorers.r]\nkind = "random"\nstream = 1',
        '[scorers.g]\nkind = "gradient-norm"\ncheckpoint = 1.0\nstream = 1',
        '[scorers.w]\nkind = "weight-change"\ncheckpoint = [0.5, 1.0]',
    ],
)
def test_what_changes_a_ranking_is_accepted(tmp_path: Path, more: str) -> None:
    load(written(tmp_path, more))


ARM = """
[[arms]]
name = "a"
scorer = {scorer}
ranked_on = "d"
select = {{ kind = "{policy}", fraction = 0.5 }}
[scorers.tasks]
kind = "ablation"
tasks = ["pypi:arc_easy"]
[layers]
unit = "block"
"""


def test_an_arm_cannot_choose_among_rankings_that_are_one(tmp_path: Path) -> None:
    path = written(tmp_path, ARM.format(scorer='"tasks"', policy="top"))
    with pytest.raises(
        UserError, match=r'arms.0.ranked_on: the ranking of "tasks" is the same on every data set; remove it'
    ):
        load(path)
    found = load(written(tmp_path, ARM.format(scorer='["tasks", "ila"]', policy="union")))
    (rule,) = (arm for arm in found.recipe.arms if arm.select.kind == "type-depth")
    assert rule.ranked_on == "d"
    path.write_text(found.resolved, encoding="utf-8")
    assert load(path).recipe == found.recipe


def test_own_keys_lie_over_those_of_train(tmp_path: Path) -> None:
    more = 'train = { method = "full", steps = 3 }\nstream = 2\n[train]\nrank = 4\nepochs = 2\n'
    recipe = load(written(tmp_path, more)).recipe
    choice = recipe.scorers["ila"]
    own = recipe.training_of(choice)
    assert (own.method, own.rank, own.steps, own.epochs) == ("full", 4, 3, None)
    assert recipe.train.method == "lora"
    assert choice.stream == 2
    assert {"train", "stream"}.isdisjoint(choice.params)


@pytest.mark.parametrize(
    ("checkpoint", "train", "own"),
    [
        ("0.05", "steps = 20", ""),
        ("[0.05, 1.0]", "steps = 20\nwarmup_ratio = 0.1", ""),
        ("0.05", "steps = 20\nwarmup_ratio = 0", "{ warmup_ratio = 0.5 }"),
        ("0.25", "epochs = 1", "{ steps = 5 }"),
    ],
)
def test_a_checkpoint_before_anything_moved_is_refused(tmp_path: Path, checkpoint: str, train: str, own: str) -> None:
    more = f"checkpoint = {checkpoint}\n" + (f"train = {own}\n" if own else "") + f"[train]\n{train}\n"
    with pytest.raises(
        UserError, match=r"study.toml:9: scorers.ila.checkpoint: .* is the first step, and in a warm-up"
    ):
        load(written(tmp_path, more))


@pytest.mark.parametrize(
    ("checkpoint", "train", "own"),
    [
        ("0.1", "steps = 20", ""),  # the second step
        ("0.05", "steps = 20\nwarmup_ratio = 0", ""),
        ("0.05", "steps = 20", "{ warmup_ratio = 0.0 }"),
        ("0.05", "steps = 20", "{ epochs = 1 }"),  # how many steps that are, the data say
        ("0.5", "steps = 1", ""),  # which a warm-up leaves out
    ],
)
def test_a_checkpoint_at_which_something_moved_is_not(tmp_path: Path, checkpoint: str, train: str, own: str) -> None:
    more = f"checkpoint = {checkpoint}\n" + (f"train = {own}\n" if own else "") + f"[train]\n{train}\n"
    load(written(tmp_path, more))


def test_a_smoke_run_has_moved_at_every_checkpoint(tmp_path: Path) -> None:
    more = "checkpoint = 0.25\ntrain = { warmup_ratio = 0.5, steps = 40 }\n[train]\nwarmup_ratio = 0.1\n"
    short = load(written(tmp_path, more), smoke=True)
    trained = short.recipe.training_of(short.recipe.scorers["ila"])
    assert (trained.steps, trained.warmup_ratio, short.recipe.train.warmup_ratio) == (2, 0.0, 0.0)
