"""Device and dtype selection, and the measurement of peak memory."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from layersig.errors import UserError

_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# cuBLAS reads this when CUDA starts; without it the same product may give other bits a second time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Nearly every batch has another shape; segments that grow are not left in fragments.
if not {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"} & os.environ.keys():
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def pick_device(requested: str = "auto") -> torch.device:
    """The device to compute on.

    Args:
        requested: "auto" (CUDA, else MPS, else CPU), or a device such as "cpu", "cuda", "cuda:1", "mps".

    Returns:
        The device as tensors name it: accelerators with their number.

    Raises:
        UserError: The requested device does not exist here.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if requested == "auto":
        requested = "cuda" if cuda else "mps" if mps else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise UserError(
            f"model.device: {requested!r} is not a device; write auto, cpu, cuda, cuda:1, ... or mps"
        ) from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(device.type, 0)
    if (device.index or 0) >= count:
        raise UserError(
            f"model.device: {requested!r} is not available: torch finds {count} such "
            f"{'device' if count == 1 else 'devices'}; write auto or cpu"
        )
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        # cuDNN compiles its attention for every shape, and here nearly every batch has a new one.
        torch.backends.cuda.enable_cudnn_sdp(False)
    return torch.device(device.type, device.index or 0)


class DtypeChoice(NamedTuple):
    """A dtype and why it was taken."""

    dtype: torch.dtype
    reason: str


def pick_dtype(requested: str, device: torch.device) -> DtypeChoice:
    """The dtype to compute in.

    Args:
        requested: "auto", "float32", "bfloat16" or "float16". Auto takes bfloat16 where the device multiplies it in
            hardware and float32 elsewhere; float16 is never taken unasked, since training overflows in it.
        device: Where the model will lie.

    Raises:
        UserError: Another name is requested.
    """
    if requested != "auto":
        if requested not in _DTYPES:
            raise UserError(f"dtype: {requested!r} is not a dtype; write auto, {', '.join(_DTYPES)}")
        return DtypeChoice(_DTYPES[requested], "requested")
    if device.type == "cuda":
        if torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0):
            return DtypeChoice(torch.bfloat16, "the GPU computes bfloat16 in hardware")
        return DtypeChoice(torch.float32, "the GPU has no bfloat16 in hardware")
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        for name in ("amx_bf16", "avx512_bf16"):
            if capabilities.get(name):
                return DtypeChoice(torch.bfloat16, f"the CPU computes bfloat16 in hardware ({name})")
        return DtypeChoice(torch.float32, "the CPU has neither AMX nor AVX-512 for bfloat16")
    return DtypeChoice(torch.float32, f"bfloat16 is not known to be fast on {device.type}")


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device, without a wait for what a GPU has still to compute.

    A copy from ordinary memory begins when the device has done all that was asked of it before, and the host waits for
    it; one from pinned memory stands in line with the rest.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float64: where it lies, or on the CPU where the device has no float64."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


@dataclass(slots=True)
class PeakMemory:
    """Memory of a `peak_memory` block in bytes; final once the block has ended.

    Attributes:
        start: In use when the block began.
        peak: Largest use within the block.
    """

    start: int
    peak: int

    @property
    def growth(self) -> int:
        """By how much the peak lies above the start."""
        return self.peak - self.start


_running: list[tuple[torch.device, PeakMemory]] = []


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measure the peak of resident memory (CPU, MPS) or of torch's allocations (CUDA) within a block; may be nested.

    Linux counts the peak itself; where its counter cannot be reset, a thread reads the memory every 10 ms.
    """
    _note_peaks(device)
    resettable = _reset_peak(device)
    memory = PeakMemory(_current(device), 0)
    entry = (device, memory)
    _running.append(entry)
    sampler = None if resettable else _Sampler(memory)
    try:
        yield memory
    finally:
        if sampler is not None:
            sampler.stop()
        _note_peaks(device)
        memory.peak = max(memory.peak, _current(device))
        _running[:] = [other for other in _running if other is not entry]


def _note_peaks(device: torch.device) -> None:
    """Credit what was reached so far to every running block, since the counter is about to be reset."""
    peak = _peak(device)
    for other, memory in _running:
        if other == device:
            memory.peak = max(memory.peak, peak)


def _current(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def _peak(device: torch.device) -> int:
    """Peak since the last reset; 0 where nothing counts it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not _STATUS.is_file():
        return 0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _reset_peak(device: torch.device) -> bool:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


class _Sampler:
    """Raises the peak of a block to the resident memory it sees."""

    def __init__(self, memory: PeakMemory) -> None:
        self._memory = memory
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stopped.wait(0.01):
            self._memory.peak = max(self._memory.peak, process.memory_info().rss)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def free(device: torch.device) -> None:
    """Give memory that nothing refers to back to the device or the system."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)
