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
        ("stream = -1", "scorers.ila.stream", "must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, more: str, key: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, more))
    (fault,) = [line for line in str(caught.value).splitlines() if f": {key}: " in line]
    assert words in fault


def test_own_keys_lie_over_those_of_train(tmp_path: Path) -> None:
    more = 'train = { method = "full", steps = 3 }\nstream = 2\n[train]\nrank = 4\nepochs = 2\n'
    recipe = load(written(tmp_path, more)).recipe
    choice = recipe.scorers["ila"]
    own = recipe.training_of(choice)
    assert (own.method, own.rank, own.steps, own.epochs) == ("full", 4, 3, None)
    assert recipe.train.method == "lora"
    assert choice.stream == 2
    assert {"train", "stream"}.isdisjoint(choice.params)
