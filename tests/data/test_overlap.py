from __future__ import annotations

import random

import pytest

from layersig.data.overlap import Hit, ngram_overlap, normalised

TEXT = "the quick brown fox jumps over the lazy dog and then sleeps all day long in the sun"
WORDS = TEXT.split()


def test_case_and_punctuation_do_not_hide_an_overlap() -> None:
    training = ["Well -- The QUICK, brown (fox) jumps\nover the 'lazy' dog!"]
    (task,) = ngram_overlap(training, {"t": [("0", "the quick brown fox jumps over the lazy dog?")]}, 8)
    assert task.hits == (Hit("0", 1.0),)
    assert task.share == 1.0


def test_chinese_questions_are_found_character_by_character() -> None:
    asked = "下列哪一项不是中国古代四大发明之一？"
    (task,) = ngram_overlap(
        [f"题目：{asked} 答案"], {"t": [("0", asked), ("1", "光合作用发生在植物细胞的什么结构中")]}, 13
    )
    assert (task.too_short, task.hits) == (0, (Hit("0", 1.0),))


def test_one_word_less_than_n_in_common_is_no_hit() -> None:
    item = " ".join([*WORDS[:7], "x", *WORDS[8:15]])
    (task,) = ngram_overlap([" ".join(WORDS)], {"t": [("0", item)]}, 8)
    assert task.hits == ()
    (task,) = ngram_overlap([" ".join(WORDS)], {"t": [("0", item)]}, 7)
    assert [hit.item for hit in task.hits] == ["0"]


def test_ngrams_do_not_run_from_one_text_into_the_next() -> None:
    items = {"t": [("0", " ".join(WORDS[:8]))]}
    assert ngram_overlap([" ".join(WORDS[:4]), " ".join(WORDS[4:8])], items, 8)[0].hits == ()


def test_tasks_are_counted_apart_and_short_items_can_not_match() -> None:
    items = {
        "one": [
            ("a", " ".join(WORDS[:9])),
            ("b", "quite another text of more words than eight there are"),
            ("c", "short"),
        ],
        "two": [("a", "short too")],
    }
    one, two = ngram_overlap([" ".join(WORDS)], items, 8)
    assert (one.task, one.n, one.items, one.too_short) == ("one", 8, 3, 1)
    assert [hit.item for hit in one.hits] == ["a"]
    assert one.share == 0.5
    assert (two.items, two.too_short, two.hits, two.share) == (1, 1, (), 0.0)


def test_share_covered_serves_the_stricter_convention() -> None:
    # 11 words have 4 distinct 8-grams; the training text holds the first 3 or the first 2 of them.
    item = " ".join(WORDS[:11])
    most, half = (ngram_overlap([" ".join(WORDS[:last])], {"t": [("0", item)]}, 8)[0] for last in (10, 9))
    assert most.hits[0].covered == pytest.approx(0.75)
    assert half.hits[0].covered == pytest.approx(0.5)
    assert most.covered() == ("0",)
    assert half.covered() == ()


@pytest.mark.parametrize("n", [2, 3])
def test_agrees_with_a_search_for_every_ngram(n: int) -> None:
    rng = random.Random(n)
    training = [" ".join(rng.choices("abcdefgh", k=rng.randint(0, 12))) for _ in range(20)]
    items = [(str(place), " ".join(rng.choices("abcdefgh", k=rng.randint(0, 9)))) for place in range(60)]
    (task,) = ngram_overlap(training, {"t": items}, n)
    expected = []
    for item, text in items:
        words = text.split()
        grams = {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}
        found = {gram for gram in grams if any(f" {gram} " in f" {text} " for text in training)}
        if found:
            expected.append(Hit(item, len(found) / len(grams)))
    assert list(task.hits) == expected


def test_normalising_twice_changes_nothing() -> None:
    text = "It's 3.5 km — À Zürich_2!\nYes"
    assert normalised(text) == "it s 3 5 km à zürich_2 yes"
    assert normalised(normalised(text)) == normalised(text)
