from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.fast import numerics
from layersig.fast.numerics import numerics_key
from layersig.models import devices
from layersig.models.determinism import deterministic
from layersig.models.devices import free, peak_memory, pick_device, pick_dtype

CPU = torch.device("cpu")


def test_devices_are_picked_in_the_order_cuda_mps_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"cuda": True, "mps": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert pick_device() == pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="'cuda:2' is not available: torch finds 2 such devices"):
        pick_device("cuda:2")
    there["cuda"] = False
    assert pick_device() == torch.device("mps", 0)
    assert pick_device("cpu") == pick_device("cpu:0") == CPU
    there["mps"] = False
    assert pick_device() == CPU
    for absent in ("cuda", "mps", "xpu"):
        with pytest.raises(UserError, match=f"'{absent}' is not available"):
            pick_device(absent)
    with pytest.raises(UserError, match="'gpu' is not a device"):
        pick_device("gpu")


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_where_its_hardware_does(
    capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    choice = pick_dtype("auto", CPU)
    assert choice.dtype is dtype
    assert "CPU" in choice.reason


def test_a_gpu_computes_in_bfloat16_where_its_hardware_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {torch.device("cuda", 0): (7, 5), torch.device("cuda", 1): (8, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", cards.__getitem__)
    monkeypatch.setattr(torch.version, "hip", None)
    assert pick_dtype("auto", torch.device("cuda", 0)).dtype is torch.float32
    assert pick_dtype("auto", torch.device("cuda", 1)).dtype is torch.bfloat16


def test_a_requested_dtype_is_obeyed() -> None:
    assert pick_dtype("float16", CPU) == (torch.float16, "requested")
    assert pick_dtype("auto", torch.device("mps")).dtype is torch.float32
    with pytest.raises(UserError, match="dtype: 'fp8' is not a dtype"):
        pick_dtype("fp8", CPU)


def test_the_numerics_key_tells_what_changes_digits() -> None:
    key = numerics_key(CPU, torch.float32)
    assert json.loads(json.dumps(key)) == key
    assert key["torch"].count(".") == 1
    assert torch.__version__.startswith(key["torch"])
    assert key != numerics_key(CPU, torch.bfloat16)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert numerics_key(CPU, torch.float32) != key
    finally:
        torch.set_num_threads(threads)


def test_the_numerics_key_tells_gpus_and_their_libraries_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"accelerator": "NVIDIA H100 PCIe", "multiprocessors": 114, "cuda": "13.0", "accelerator_gib": 79.2}
    monkeypatch.setattr(numerics, "accelerator", lambda device: about)
    key = numerics_key(torch.device("cuda", 0), torch.bfloat16)
    assert key["device"] == "cuda"
    assert "accelerator_gib" not in key
    assert numerics_key(torch.device("cuda", 1), torch.bfloat16) == key
    for name, other in (("accelerator", "NVIDIA H100 SXM"), ("multiprocessors", 132), ("cuda", "12.6")):
        with monkeypatch.context() as patch:
            patch.setitem(about, name, other)
            assert numerics_key(torch.device("cuda", 0), torch.bfloat16) != key


def test_the_library_of_quantised_weights_is_part_of_the_key() -> None:
    assert "bitsandbytes" in numerics_key(CPU, torch.float32, quantization="nf4")
    assert "bitsandbytes" not in numerics_key(CPU, torch.float32)


def test_a_gpu_is_deterministic_within_the_context_alone() -> None:
    def state() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory

    before = state()
    with deterministic(CPU):
        assert state() == before
    with suppress(ZeroDivisionError), deterministic(torch.device("cuda", 0)):
        assert state() == (True, False)
        raise ZeroDivisionError
    assert state() == before
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


def test_attention_of_cudnn_is_off_once_a_gpu_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    switched = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", switched.append)
    pick_device("cpu")
    assert switched == []
    pick_device("cuda:0")
    assert switched == [False]


MEGABYTE = 2**20


def _use(megabytes: int) -> None:
    np.ones(megabytes * MEGABYTE, dtype=np.uint8)


@pytest.mark.parametrize("counter", [True, False])
def test_the_peak_of_a_block_is_measured_after_a_larger_one(
    counter: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not counter:  # as on systems without Linux's counter
        monkeypatch.setattr(devices, "_CLEAR", tmp_path / "no" / "clear_refs")
        monkeypatch.setattr(devices, "_STATUS", tmp_path / "no" / "status")
    _use(300)
    with peak_memory(CPU) as small:
        held = np.ones(64 * MEGABYTE, dtype=np.uint8)
        if not counter:
            time.sleep(0.5)  # for a sampler that a busy machine keeps waiting
        del held
    assert 50 * MEGABYTE < small.growth < 120 * MEGABYTE


def test_an_inner_block_does_not_hide_the_peak_of_the_outer_one() -> None:
    with peak_memory(CPU) as outer:
        _use(200)
        with peak_memory(CPU) as inner:
            _use(20)
    assert outer.growth > 180 * MEGABYTE
    assert inner.growth < 60 * MEGABYTE


def test_freed_memory_goes_back_to_the_system() -> None:
    pieces = [np.ones(100_000, dtype=np.uint8) for _ in range(1000)]
    with peak_memory(CPU) as memory:
        del pieces
        free(CPU)
        assert devices._current(CPU) < memory.start - 50 * MEGABYTE
