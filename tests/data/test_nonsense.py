"""Conversations that say nothing keep everything but what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from layersig.data.examples import read_examples
from layersig.pipeline import stages
from layersig.plugin.manager import installed
from layersig.recipe.resolve import with_defaults
from tests.data.test_stage import run
from tests.findings.recipes import recipe_of
from tests.tiny import tiny_tokenizer

ROWS = [
    {"prompt": f"what is {place} plus {place * 3}", "response": f"it is {place * 4} as far as i know"}
    for place in range(16)
]


def test_words_are_shuffled_within_their_turn(tmp_path: Path) -> None:
    plain, shuffled = run(tmp_path / "a", ROWS), run(tmp_path / "b", ROWS, text="shuffled-words")
    tokenizer = tiny_tokenizer()
    for side in ("train", "heldout"):
        one, other = read_examples(plain.out, side), read_examples(shuffled.out, side)
        assert (one.ids, one.groups) == (other.ids, other.groups)  # the same conversations on the same sides
        assert np.array_equal(one.target_counts, other.target_counts)
        for a, b in zip(one, other, strict=True):
            for target in (False, True):
                first, second = (
                    tokenizer.decode(each.tokens[each.targets == target]).replace("</s>", " </s>") for each in (a, b)
                )
                assert sorted(first.split()) == sorted(second.split())
        assert not np.array_equal(one.tokens, other.tokens)


def test_random_tokens_are_as_many_and_hold_no_special_ones(tmp_path: Path) -> None:
    plain, random = run(tmp_path / "a", ROWS), run(tmp_path / "b", ROWS, text="random-tokens", max_rewritten=0.0)
    one, other = read_examples(plain.out, "train"), read_examples(random.out, "train")
    assert one.ids == other.ids
    # Bytes that make no character are decoded as three, hence longer, turns.
    assert one.tokens.size < other.tokens.size
    special = {0, 3}
    assert not special & set(other.tokens.tolist())
    assert np.count_nonzero(np.bincount(other.tokens, minlength=260)) > 100
    report = json.loads((random.out / "report.json").read_text())
    assert report["train"]["rewritten"] == 0


def test_a_conversation_says_the_same_nonsense_in_every_sample_and_seed(tmp_path: Path) -> None:
    few = run(tmp_path / "a", ROWS, text="random-tokens", train_limit=5)
    many = run(tmp_path / "b", list(reversed(ROWS)), text="random-tokens", seed=3)
    known = {example.id: example.tokens.tolist() for example in read_examples(many.out, "train")}
    for example in read_examples(few.out, "train"):
        assert known[example.id] == example.tokens.tolist()


@pytest.mark.parametrize("text", ["natural", "shuffled-words"])
def test_only_other_text_changes_the_fingerprint(text: str) -> None:
    recipe = recipe_of(data=({"name": "d", "source": "pypi:y", "text": text},))
    stage = stages(with_defaults(recipe, installed()), installed())["data/d"]
    assert ("text" in stage.params) == (text != "natural")


def test_text_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="'natural', 'shuffled-words' or 'random-tokens'"):
        recipe_of(data=({"name": "d", "source": "pypi:y", "text": "noise"},))
