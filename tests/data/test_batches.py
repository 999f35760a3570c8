from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layersig.data.batches import collate, micro_batches, optimizer_batches, step_count, tight_slices
from layersig.data.examples import Example
from layersig.streams import Streams

COUNTS = st.integers(1, 40)
SIZES = st.integers(1, 12)


@given(COUNTS, SIZES, st.integers(1, 4))
def test_every_epoch_has_each_example_once(count: int, batch_size: int, epochs: int) -> None:
    batches = optimizer_batches(range(count), batch_size=batch_size, epochs=epochs, streams=Streams(0, 1))
    drawn = list(chain.from_iterable(batches))
    assert len(drawn) == epochs * count
    for epoch in range(epochs):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size
    assert len(batches) == step_count(count, batch_size=batch_size, epochs=epochs)


@given(COUNTS, SIZES, st.integers(1, 30))
def test_steps_cycle_through_full_batches(count: int, batch_size: int, steps: int) -> None:
    batches = optimizer_batches(range(count), batch_size=batch_size, steps=steps, streams=Streams(0))
    assert [len(batch) for batch in batches] == [batch_size] * steps
    assert step_count(count, batch_size=batch_size, steps=steps) == steps
    times = Counter(chain.from_iterable(batches))
    assert max(times.values()) - min(times.get(index, 0) for index in range(count)) <= 1


def test_more_epochs_begin_like_fewer() -> None:
    short, long = (optimizer_batches(range(10), batch_size=4, epochs=e, streams=Streams(0)) for e in (2, 5))
    assert long[: len(short)] == short


def test_order_is_of_the_streams() -> None:
    def draw(streams: Streams) -> list[tuple[int, ...]]:
        return optimizer_batches(range(50), batch_size=8, epochs=2, streams=streams)

    assert draw(Streams(0, 1)) == draw(Streams(0, 1))
    assert len({tuple(draw(streams)) for streams in (Streams(0, 1), Streams(0, 2), Streams(1, 1))}) == 3
    first, second = (list(chain.from_iterable(draw(Streams(0))))[part] for part in (slice(50), slice(50, None)))
    assert first != second


def test_fractions_of_an_epoch() -> None:
    drawn = list(chain(*optimizer_batches(range(10), batch_size=4, epochs=1.5, streams=Streams(0))))
    assert len(drawn) == 15
    assert sorted(drawn[:10]) == list(range(10))
    assert len(optimizer_batches(range(10), batch_size=4, epochs=0.001, streams=Streams(0))) == 1


@pytest.mark.parametrize("lengths", [{}, {"epochs": 1, "steps": 1}])
def test_exactly_one_length_is_given(lengths: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        optimizer_batches(range(3), batch_size=1, streams=Streams(0), **lengths)


def test_no_examples() -> None:
    with pytest.raises(ValueError, match="no example"):
        step_count(0, batch_size=1, epochs=1)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 200), st.data())
def test_micro_batches_only_cut(lengths: list[int], budget: int, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=40))
    slices = micro_batches(lengths, indices, budget)
    assert sorted(chain.from_iterable(slices)) == sorted(indices)
    for one in slices:
        assert one
        assert len(one) == 1 or len(one) * max(lengths[index] for index in one) <= budget
    in_order = [lengths[index] for index in chain.from_iterable(slices)]
    assert in_order == sorted(in_order, reverse=True)
    assert micro_batches(np.array(lengths), indices[::-1], budget) == slices


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 200), st.integers(0, 80))
def test_no_other_cut_costs_less(lengths: list[int], budget: int, overhead: int) -> None:
    slices = tight_slices(lengths, range(len(lengths)), budget, overhead)
    ordered = sorted(lengths, reverse=True)
    assert [lengths[index] for index in chain.from_iterable(slices)] == ordered
    assert sorted(chain.from_iterable(slices)) == list(range(len(lengths)))

    def cost(cut: Sequence[Sequence[int]]) -> float:
        if any(len(one) > 1 and len(one) * max(one) > budget for one in cut):
            return float("inf")
        return sum(len(one) * max(one) + overhead for one in cut)

    every = []
    for borders in product((False, True), repeat=len(ordered) - 1):
        ends = [place + 1 for place, border in enumerate(borders) if border]
        every.append([ordered[a:b] for a, b in pairwise([0, *ends, len(ordered)])])
    assert cost([[lengths[index] for index in one] for one in slices]) == min(map(cost, every))


# Means, standard deviations and caps like those of No Robots, LIMA and Alpaca in tokens; log-normal is an assumption.
@pytest.mark.parametrize("budget", [4096, 16384])
@pytest.mark.parametrize(("mean", "deviation"), [(330, 280), (520, 450), (220, 120)])
def test_little_of_an_optimizer_batch_is_padding(mean: float, deviation: float, budget: int) -> None:
    spread = math.log(1 + (deviation / mean) ** 2)
    drawn = np.random.default_rng(0).lognormal(math.log(mean) - spread / 2, math.sqrt(spread), (50, 32))
    real = padded = full = 0
    for lengths in drawn.clip(8, 2048).astype(int).tolist():
        real += sum(lengths)
        padded += sum(len(one) * lengths[one[0]] for one in tight_slices(lengths, range(32), budget))
        full += sum(len(one) * lengths[one[0]] for one in micro_batches(lengths, range(32), budget))
    assert real / padded >= 0.85
    assert real / full < 0.85  # what full slices waste


def test_collate_pads_on_the_right() -> None:
    examples = [
        Example("a", "g", np.array([5, 6, 7], np.int32), np.array([False, True, True])),
        Example("b", "g", np.array([8], np.int32), np.array([False])),
    ]
    batch = collate(examples)
    assert batch.tokens.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.tokens.dtype == torch.int64
    assert batch.targets.tolist() == [[False, True, True], [False, False, False]]
    assert batch.targets.dtype == torch.bool
    assert batch.lengths.tolist() == [3, 1]
    assert batch.ids == ("a", "b")


def test_nothing_but_collate_needs_torch() -> None:
    code = (
        "import sys, layersig.data.batches, layersig.data.examples, layersig.data.rows, layersig.data.split, "
        "layersig.data.overlap, layersig.data.chat, layersig.data.stage; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
