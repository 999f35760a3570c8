from __future__ import annotations

import time
from pathlib import Path

import pytest

from layersig.engine.energy import EnergyMeter, zones

WRAP = 1_000_000


def zone(root: Path, number: str, name: str, count: int) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{WRAP}\n")
    (folder / "energy_uj").write_text(f"{count}\n")
    return folder / "energy_uj"


def test_processors_and_memory_count_and_their_parts_do_not(tmp_path: Path) -> None:
    kept = {zone(tmp_path, "0", "package-0", 5), zone(tmp_path, "0:1", "dram", 5), zone(tmp_path, "1", "package-1", 5)}
    zone(tmp_path, "0:0", "core", 5)
    zone(tmp_path, "2", "psys", 5)
    zone(tmp_path, "3", "package-3", 5).unlink()  # as where only root may read
    assert {each.energy for each in zones(tmp_path)} == kept
    assert zones(tmp_path / "absent") == ()


def test_a_counter_may_start_again_from_zero(tmp_path: Path) -> None:
    file = zone(tmp_path, "0", "package-0", 900_000)
    with EnergyMeter(zones(tmp_path), period=60) as meter:
        file.write_text("200000")
    assert meter.joules == {"cpu_energy": pytest.approx(0.3)}


def test_long_work_is_read_more_often_than_the_counter_wraps(tmp_path: Path) -> None:
    file = zone(tmp_path, "0", "package-0", 0)
    with EnergyMeter(zones(tmp_path), period=0.01) as meter:
        for count in (600_000, 100_000, 700_000):  # 0.6, 0.5 and 0.6 J, around the end once
            (tmp_path / "next").write_text(str(count))
            (tmp_path / "next").replace(file)  # at once, as the kernel counts
            time.sleep(0.15)
    assert meter.joules == {"cpu_energy": pytest.approx(1.7)}


def test_power_of_a_gpu_is_summed_over_time() -> None:
    with EnergyMeter(accelerator=lambda: 300.0, period=0.02) as meter:
        time.sleep(0.2)
    assert meter.joules["gpu_energy"] == pytest.approx(60, rel=0.5)
    assert meter.joules["gpu_energy"] >= 60


def test_where_nothing_counts_nothing_is_measured() -> None:
    with EnergyMeter() as meter:
        pass
    assert meter.joules == {}


@pytest.mark.parametrize("broken", ["zone", "gpu"])
def test_a_counter_that_fails_makes_the_energy_unknown_and_not_the_work(tmp_path: Path, broken: str) -> None:
    file = zone(tmp_path, "0", "package-0", 0)
    calls = []

    def watts() -> float:
        calls.append(1)
        if broken == "gpu":
            raise RuntimeError("lost")
        return 1.0

    with EnergyMeter(zones(tmp_path), watts, period=0.01) as meter:
        if broken == "zone":
            file.unlink()
        time.sleep(0.05)
    assert meter.joules == {}
