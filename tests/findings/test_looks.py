from __future__ import annotations

import pytest

from layersig.findings.looks import look_sentence


@pytest.mark.parametrize(
    ("seeds", "looks", "said", "rate"),
    [
        ((0, 1, 2, 3, 4), [(0, 1, 2)], "Seeds 3, 4 were added after 1 look at results of this study", "3 and 5 seeds"),
        ((0, 1), [(0,)], "Seed 1 was added after 1 look at results of this study (seeds 0).", "1 and 2 seeds"),
        (range(8), [(0, 1, 2), range(5)], "Seeds 5, 6, 7 were added after 2 looks", "3, 5 and 8 seeds"),
        ((0, 1, 2), [range(5)], "Seeds 3, 4 were left out after 1 look", None),
        ((5, 6), [(0, 1)], "Seeds 5, 6 were added after and seeds 0, 1 were left out after 1 look", None),
        ((0, 1, 2), [(0, 1), (1, 2)], "The choice of seeds was made after 2 looks", None),
    ],
)
def test_a_look_is_told_with_what_it_does_to_a_test(seeds, looks, said, rate) -> None:
    sentence = look_sentence(tuple(seeds), looks, 0.05)
    assert sentence is not None
    assert sentence.startswith(said)
    assert ("rejects a true null in" in sentence) == (rate is not None)
    if rate is not None:
        assert f"a 5 % test repeated with {rate}" in sentence


def test_the_first_look_needs_no_sentence() -> None:
    assert look_sentence((0, 1), [], 0.05) is None
