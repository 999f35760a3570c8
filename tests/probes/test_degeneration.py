from __future__ import annotations

import math

import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from layersig.probes.degeneration import repetition, self_bleu, words

STORY = """The cat sat on the mat. The cat sat on the hat! A dog ran over the long grey road.
Then the cat sat on the mat again, and the dog ran. Yes. Nothing of this was ever said before"""


def test_repetition_by_hand() -> None:
    # the cat / cat the / the cat / cat the / the cat: 5 bigrams, 2 distinct.
    tokens = words("The cat the cat the cat")
    assert repetition(tokens, 2) == pytest.approx(1 - 2 / 5)
    assert repetition(tokens, 3) == pytest.approx(1 - 2 / 4)
    assert repetition(tokens, 4) == pytest.approx(1 - 2 / 3)
    assert repetition(words("all of these words differ"), 2) == 0
    assert repetition(["a"], 2) is None
    assert repetition([], 2) is None


def test_words_are_lower_case_and_signs_stand_alone() -> None:
    assert words("It's 3.5, Ada!") == ["it", "'", "s", "3", ".", "5", ",", "ada", "!"]


def test_a_chinese_or_japanese_character_is_a_word() -> None:
    assert words("我不知道。Use GPU2 で、カード") == [*"我不知道。", "use", "gpu2", *"で、カード"]
    looping = words("我不知道" * 6)
    assert repetition(looping, 4) == pytest.approx(1 - 4 / 21)
    assert self_bleu("今天天气很好。今天天气很好。") == pytest.approx(1.0)


def test_self_bleu_is_that_of_nltk() -> None:
    sentences = [words(each) for each in STORY.replace("! ", ".\n").replace(". ", ".\n").split("\n")]
    sentences[1][-1] = "!"
    long = [sentence for sentence in sentences if len(sentence) >= 4]
    assert len(long) == len(sentences) - 1
    smoothing = SmoothingFunction().method1
    expected = [
        sentence_bleu([*long[:number], *long[number + 1 :]], sentence, smoothing_function=smoothing)
        for number, sentence in enumerate(long)
    ]
    assert self_bleu(STORY) == pytest.approx(math.fsum(expected) / len(expected), rel=1e-12)


def test_a_loop_has_self_bleu_one_and_a_lone_sentence_none() -> None:
    assert self_bleu("I do not know what it is. " * 20) == pytest.approx(1)
    assert self_bleu("I do not know what it is.") is None
    assert self_bleu("No. No. No.") is None
    assert self_bleu("") is None
    assert self_bleu("one two three four\nfive six seven eight") == 0
