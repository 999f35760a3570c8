"""Threads that each run a part with a share of torch's threads."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from layersig.fast.workers import PerThread, lanes, lanes_for
from layersig.models.adapters import inject_lora
from layersig.models.layermap import layer_map
from layersig.streams import Streams
from tests.tiny import tiny_model, torch_threads


def test_parts_run_at_the_same_time_and_come_back_in_order():
    meeting = threading.Barrier(2, timeout=20)

    def work(part):
        meeting.wait()
        time.sleep(0.02 * (part == 0))
        return part, torch.get_num_threads(), threading.get_ident()

    with torch_threads(2), lanes(2) as own:
        found = list(own.run(work, range(6)))
        assert torch.get_num_threads() == 2
    assert [part for part, _, _ in found] == list(range(6))
    assert {threads for _, threads, _ in found} == {1}
    assert len({ident for _, _, ident in found}) == 2


def test_one_lane_is_this_thread():
    with lanes(1) as own:
        assert list(own.run(lambda part: threading.get_ident(), [0, 1])) == [threading.get_ident()] * 2


def test_threads_of_later_are_as_before():
    seen = []
    with torch_threads(2):
        with lanes(2) as own:
            list(own.run(str, [1, 2]))
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [2]


def test_nothing_runs_on_behind_a_failure():
    ended = []

    def work(part):
        if part == 0:
            raise ValueError("part 0")
        time.sleep(0.1)
        ended.append(part)

    with torch_threads(2), lanes(2) as own:
        with pytest.raises(ValueError, match="part 0"):
            list(own.run(work, range(20)))
        count = len(ended)
        time.sleep(0.3)
        assert len(ended) == count < 5


def test_what_is_left_when_the_caller_fails_is_not_begun():
    begun = []

    def work(part):
        begun.append(part)
        time.sleep(0.05)

    def caller(own):
        for _ in own.run(work, range(100)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), torch_threads(2), lanes(2) as own:
        caller(own)
    assert len(begun) < 8


def test_a_thread_without_a_value_of_its_own_has_the_latest():
    current, seen = PerThread("first"), []
    assert current.value == "first"

    def other(value):
        if value:
            current.value = value
        seen.append(current.value)

    for value in ("second", None):
        thread = threading.Thread(target=other, args=(value,))
        thread.start()
        thread.join()
    assert seen == ["second", "second"]
    current.value = "mine"
    thread = threading.Thread(target=other, args=("third",))
    thread.start()
    thread.join()
    assert current.value == "mine"


def test_models_whose_passes_hang_together_have_one_lane():
    for threads, count in ((1, 1), (2, 2), (3, 1), (4, 2)):
        with torch_threads(threads):
            assert lanes_for(tiny_model("llama")) == count
    with torch_threads(2):
        hooked = tiny_model("llama")
        hooked.model.layers[0].register_forward_hook(lambda *_: None)
        assert lanes_for(hooked) == 1
        stretched = tiny_model("llama")
        stretched.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
        assert lanes_for(stretched) == 1
        kinds = tiny_model("llama")
        kinds.config.rope_parameters = {"full_attention": {"rope_type": "longrope"}}
        assert lanes_for(kinds) == 1


def test_parametrized_experts_have_one_lane():
    model = tiny_model("qwen3_moe")
    experts = next(layer for layer in layer_map(model) if layer.is_parameter)
    with torch_threads(2):
        assert lanes_for(model) == 2
        inject_lora(model, [experts], rank=2, alpha=4, dropout=0.0, streams=Streams(0))
        assert lanes_for(model) == 1
