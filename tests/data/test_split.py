from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layersig.data.conversation import Conversation
from layersig.data.split import Split, split_conversations
from layersig.errors import UserError
from tests.data.chats import conversation

# (prompt, answer, group label)
CONTENTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=40)


def made(contents: Sequence[tuple[int, int, int]]) -> list[Conversation]:
    return [conversation(f"q{prompt}", f"a{answer}", group=f"t{label}") for prompt, answer, label in contents]


def plain(count: int) -> list[Conversation]:
    return [conversation(f"q{place}", "a", group=f"t{place}") for place in range(count)]


def try_split(conversations: Sequence[Conversation], **settings: float | int | None) -> Split | None:
    try:
        return split_conversations(conversations, root=0, **settings)  # type: ignore[arg-type]
    except UserError:
        return None


@given(CONTENTS, st.one_of(st.integers(0, 20), st.floats(0, 0.9)), st.one_of(st.none(), st.integers(1, 30)))
def test_split_keeps_its_promises(contents: list[tuple[int, int, int]], heldout: float, limit: int | None) -> None:
    conversations = made(contents)
    split = try_split(conversations, heldout=heldout, limit=limit)
    distinct = {c.id for c in conversations}
    kept = len(distinct) if limit is None else min(limit, len(distinct))
    wanted = heldout if isinstance(heldout, int) else ceil(heldout * kept - 1e-9)
    if split is None:
        assert wanted > 0
        return
    sides = split.train + split.heldout
    assert len({c.id for c in sides}) == len(sides) == kept
    assert split.duplicates == len(conversations) - len(distinct)
    assert split.beyond_limit == len(distinct) - kept
    assert len(split.heldout) >= wanted
    assert split.train
    for shared in ("group", "first_prompt"):
        assert not {getattr(c, shared) for c in split.train} & {getattr(c, shared) for c in split.heldout}
    labels = {c.id: {d.group for d in conversations if d.id == c.id} for c in sides}
    in_train = set().union(*(labels[c.id] for c in split.train))
    assert not in_train & set().union(*(labels[c.id] for c in split.heldout))


@given(CONTENTS, st.integers(0, 10), st.one_of(st.none(), st.integers(1, 30)), st.randoms(use_true_random=False))
def test_split_does_not_depend_on_the_order_of_rows(
    contents: list[tuple[int, int, int]], heldout: int, limit: int | None, order: random.Random
) -> None:
    conversations = made(contents)
    before = try_split(conversations, heldout=heldout, limit=limit)
    order.shuffle(conversations)
    assert try_split(conversations, heldout=heldout, limit=limit) == before


def test_labels_and_prompts_chain_into_one_group() -> None:
    chain = made([(50, 0, 51), (50, 1, 52), (60, 0, 52), (60, 1, 53)])
    split = split_conversations([*chain, *plain(30)], heldout=1, root=0)
    groups = {c.group for c in split.train + split.heldout if c.id in {d.id for d in chain}}
    assert groups == {"t51"}


def test_last_group_may_overshoot_but_no_more_is_taken() -> None:
    split = split_conversations(plain(100), heldout=7, root=0)
    assert (len(split.train), len(split.heldout)) == (93, 7)
    assert len(split_conversations(plain(100), heldout=0.07, root=0).heldout) == 7  # 0.07 * 100 > 7 in floats
    assert split_conversations(plain(5), heldout=0, root=0).heldout == ()
    in_pairs = made([(prompt, answer, prompt) for prompt in range(20) for answer in range(2)])
    assert len(split_conversations(in_pairs, heldout=3, root=0).heldout) == 4


def test_root_seed_draws_another_split() -> None:
    one, two = (split_conversations(plain(100), heldout=10, limit=50, root=root) for root in (0, 1))
    assert one.heldout != two.heldout
    assert {c.id for c in one.train + one.heldout} != {c.id for c in two.train + two.heldout}


def test_samples_of_growing_limits_are_nested() -> None:
    kept = [
        {c.id for c in split.train + split.heldout}
        for split in (split_conversations(plain(60), heldout=0.2, limit=limit, root=3) for limit in (10, 20, 60))
    ]
    assert kept[0] < kept[1] < kept[2]


def test_every_conversation_is_as_likely_to_be_held_out() -> None:
    conversations = plain(10)
    counts = {c.id: 0 for c in conversations}
    for root in range(2000):
        for held in split_conversations(conversations, heldout=1, root=root).heldout:
            counts[held.id] += 1
    # 2000 draws of probability 0.1: standard deviation 13.4
    assert all(abs(count - 200) < 60 for count in counts.values())


def test_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UserError, match="leave none to train on once at least 5"):
        split_conversations(plain(5), heldout=5, root=0)
    with pytest.raises(UserError, match="2 conversations in 1 groups"):
        split_conversations(made([(0, 0, 0), (0, 1, 0)]), heldout=0.1, root=0)
    with pytest.raises(
        UserError, match=r"1 conversations in 1 groups of equal prompts or labels \(copies dropped: 1\)"
    ):
        split_conversations(made([(0, 0, 0), (0, 0, 0)]), heldout=1, root=0)
    with pytest.raises(UserError, match="larger `limit`"):
        split_conversations(plain(5), heldout=1, limit=1, root=0)


@given(CONTENTS, st.integers(0, 5), st.one_of(st.none(), st.integers(4, 30)))
def test_halves_are_disjoint_and_make_up_the_training_side(
    contents: list[tuple[int, int, int]], heldout: int, limit: int | None
) -> None:
    conversations = made(contents)
    both = try_split(conversations, heldout=heldout, limit=limit)
    halves = [try_split(conversations, heldout=heldout, limit=limit, half=half) for half in (0, 1)]
    if both is None or None in halves:
        return
    first, second = (half for half in halves if half is not None)
    assert first.heldout == second.heldout == both.heldout
    assert {c.id for c in first.train} | {c.id for c in second.train} == {c.id for c in both.train}
    assert not {c.group for c in first.train} & {c.group for c in second.train}


@pytest.mark.parametrize("count", [2, 9, 100])
def test_halves_are_equal_where_groups_are_small(count: int) -> None:
    sizes = [len(split_conversations(plain(count), heldout=0, half=half, root=3).train) for half in (0, 1)]
    assert sizes == [ceil(count / 2), count // 2]
    other = split_conversations(plain(100), heldout=0, half=0, root=4).train
    assert other != split_conversations(plain(100), heldout=0, half=0, root=3).train


def test_a_single_group_has_no_second_half() -> None:
    together = [conversation(f"q{place}", "a", group="one") for place in range(6)]
    with pytest.raises(UserError, match="half = 1"):
        split_conversations(together, heldout=0, half=1, root=0)


@given(CONTENTS, st.integers(1, 6), st.sampled_from([None, 0, 1]))
def test_smaller_training_sides_are_part_of_larger_ones_and_the_held_out_side_stays(
    contents: list[tuple[int, int, int]], most: int, half: int | None
) -> None:
    conversations = made(contents)
    whole = try_split(conversations, heldout=0.2, half=half)
    if whole is None:
        return
    sides = []
    for size in range(1, most + 1):
        found = try_split(conversations, heldout=0.2, half=half, train_limit=size)
        if found is None:
            assert size > len(whole.train)
            continue
        assert found.heldout == whole.heldout
        assert len(found.train) == size
        sides.append({c.id for c in found.train})
    assert all(small < large for small, large in pairwise(sides))
    assert all(side <= {c.id for c in whole.train} for side in sides)


def test_more_than_there_is_to_train_on_is_refused() -> None:
    with pytest.raises(UserError, match=r"`train_limit = 9` asks for more conversations than the 8"):
        split_conversations(plain(10), heldout=2, train_limit=9, root=0)
