"""What a stage draws in energy, where the machine counts it: by RAPL for processors, by NVML for NVIDIA's GPUs.

Counters are of the whole processor or GPU, whatever else it does at that time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

POWERCAP = Path("/sys/class/powercap")
_PERIOD = 1.0
"""Seconds between two readings: a RAPL counter starts again from 0 after some minutes at full load."""
_MICRO = 1e-6

Watts = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Zone:
    """A counter of RAPL.

    Attributes:
        energy: File that holds the microjoules counted so far.
        wrap: Microjoules at which it starts again from 0.
    """

    energy: Path
    wrap: int

    def read(self) -> int:
        """The count now.

        Raises:
            OSError: It may not be read any more.
        """
        return int(self.energy.read_text())


def zones(root: Path = POWERCAP) -> tuple[Zone, ...]:
    """The counters of processors and their memory that this user may read; most systems allow it to root alone.

    Cores and graphics are parts of a processor, and the platform counts processors again, so these are left out.
    """
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):  # the driver of AMD's processors has the same name
        try:
            name = (folder / "name").read_text().strip()
            zone = Zone(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
            zone.read()
        except (OSError, ValueError):
            continue
        if name == "dram" or name.startswith("package"):
            found.append(zone)
    return tuple(found)


class EnergyMeter:
    """Counts the energy of a block.

    Args:
        processor: Counters that are read.
        accelerator: What the GPU draws at the moment, in watts; None where nothing tells.
        period: Seconds between two readings.

    Attributes:
        joules: By `cpu_energy` and `gpu_energy`; what cannot be measured is missing.
    """

    def __init__(
        self, processor: Sequence[Zone] = (), accelerator: Watts | None = None, *, period: float = _PERIOD
    ) -> None:
        self.joules: dict[str, float] = {}
        self._zones = processor
        self._watts = accelerator
        self._period = period
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts: list[int] = []
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._zones or self._watts:
            self._last = time.monotonic()
            self._measure(self._begin)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._measure(self._read)

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            self._measure(self._read)

    def _measure(self, reading: Callable[[], None]) -> None:
        """Take a reading; a counter that fails makes the energy unknown, never the stage."""
        try:
            reading()
        except Exception:
            self._zones, self._watts = (), None
            self.joules.clear()

    def _begin(self) -> None:
        self._counts = [zone.read() for zone in self._zones]
        self.joules |= {"cpu_energy": 0.0} if self._zones else {}
        self.joules |= {"gpu_energy": 0.0} if self._watts else {}

    def _read(self) -> None:
        counts, now = [zone.read() for zone in self._zones], time.monotonic()
        for zone, before, count in zip(self._zones, self._counts, counts, strict=True):
            self.joules["cpu_energy"] += _MICRO * (count - before if count >= before else count - before + zone.wrap)
        if self._watts is not None:
            self.joules["gpu_energy"] += self._watts() * (now - self._last)
        self._counts, self._last = counts, now


def gpu_power(device: str) -> Watts | None:
    """How to ask what a CUDA device draws; None where torch cannot say (it needs NVIDIA's `nvidia-ml-py` for it).

    Args:
        device: A torch device.
    """
    import torch

    chosen = torch.device(device)
    if chosen.type != "cuda":
        return None
    try:
        torch.cuda.power_draw(chosen)
    except Exception:  # missing package, missing driver, a card that does not tell: each with an error of its own
        return None
    return lambda: torch.cuda.power_draw(chosen) / 1000
