from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from layersig.errors import UserError
from layersig.fast.numerics import numerics_key
from layersig.models import devices
from layersig.models.devices import free, peak_memory, pick_device, pick_dtype

CPU = torch.device("cpu")


def test_devices_are_picked_in_the_order_cuda_mps_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"cuda": True, "mps": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert pick_device() == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="'cuda:2' is not there: torch sees 2"):
        pick_device("cuda:2")
    there["cuda"] = False
    assert pick_device() == torch.device("mps")
    assert pick_device("cpu") == CPU
    there["mps"] = False
    assert pick_device() == CPU
    for absent in ("cuda", "mps", "xpu"):
        with pytest.raises(UserError, match=f"'{absent}' is not there"):
            pick_device(absent)
    with pytest.raises(UserError, match="'gpu' is none"):
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


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_computes_in_bfloat16_where_its_hardware_does(
    supported: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert pick_dtype("auto", torch.device("cuda")).dtype is dtype


def test_a_requested_dtype_is_obeyed() -> None:
    assert pick_dtype("float16", CPU) == (torch.float16, "requested")
    assert pick_dtype("auto", torch.device("mps")).dtype is torch.float32
    with pytest.raises(UserError, match="dtype = 'fp8' is none"):
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
