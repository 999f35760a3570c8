from __future__ import annotations

import random

import pytest

from layersig.data.diversity import SEGMENT, diversity


def text(rng: random.Random, vocabulary: int, length: int) -> str:
    return " ".join(f"w{rng.randrange(vocabulary)}" for _ in range(length))


def test_distinct_n_counts_by_hand() -> None:
    found = diversity(["a b a b", "A b. c"])
    assert found.words == 8
    # a b a b a b . c; bigrams ab ba ab | ab b. .c; trigrams aba bab | ab. b.c
    assert found.distinct == {"1": 4 / 8, "2": 4 / 6, "3": 4 / 4}
    assert found.in_segments == {}


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["one", "two"]])
def test_short_texts_have_what_they_allow(texts: list[str]) -> None:
    found = diversity(texts)
    assert found.distinct == ({"1": 1.0} if found.words else {})


def test_segments_do_not_depend_on_the_size_and_the_whole_does() -> None:
    rng = random.Random(1)
    texts = [text(rng, 300, 37) for _ in range(600)]
    small, large = diversity(texts[:120]), diversity(texts)
    assert large.distinct["1"] < small.distinct["1"] / 2
    assert large.in_segments["1"] == pytest.approx(small.in_segments["1"], rel=0.02)


def test_less_diverse_texts_score_lower_at_every_n() -> None:
    rng = random.Random(2)
    rich, poor = ([text(rng, size, 50) for _ in range(100)] for size in (3000, 100))
    for n in ("1", "2"):
        assert diversity(poor).in_segments[n] < diversity(rich).in_segments[n]
    repeated = diversity([rich[0]] * 100)
    assert max(repeated.in_segments.values()) < 0.06


def test_segments_are_cut_at_the_word() -> None:
    exact = diversity([" ".join(f"w{number}" for number in range(SEGMENT * 2))])
    assert exact.in_segments == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert diversity([" ".join(["w"] * (SEGMENT - 1))]).in_segments == {}
    one = diversity([" ".join(["w"] * 3)] * (SEGMENT // 3 + 1))
    assert one.in_segments["1"] == 1 / SEGMENT
