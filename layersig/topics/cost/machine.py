"""The compute of a run in total: hours by device, energy where the machine counts it, and the speed of every arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layersig.recipe.schema import BASE
from layersig.store.runfolder import ManifestForm, StageForm
from layersig.topics.cost.rows import ComputeRow, InferenceRow

_HOUR = 3600


def compute_rows(manifest: ManifestForm) -> Iterator[ComputeRow]:
    """A row for the device that models ran on, and one for the CPU where that was another."""
    machine = manifest["machine"]
    name = str(machine.get("accelerator") or machine.get("device") or "cpu")
    by_device: dict[str, list[StageForm]] = {}
    for stage in manifest["stages"]:
        if stage["status"] == "done":
            by_device.setdefault(name if stage.get("computes", True) else "cpu", []).append(stage)
    for device, stages in by_device.items():
        timed = [stage for stage in stages if "seconds" in stage]
        yield ComputeRow(
            device=device,
            stages=len(stages),
            untimed=len(stages) - len(timed),
            hours=sum(stage["seconds"] for stage in timed) / _HOUR,
            hours_now=sum(stage["seconds"] for stage in timed if not stage.get("cached")) / _HOUR,
            threads=machine.get("threads") if device == "cpu" else None,
            cpu_energy=_sum([stage["cpu_energy"] for stage in stages if "cpu_energy" in stage]),
            gpu_energy=_sum([stage["gpu_energy"] for stage in stages if "gpu_energy" in stage]),
            measured=sum("cpu_energy" in stage or "gpu_energy" in stage for stage in stages),
        )


def inference_rows(manifest: ManifestForm) -> tuple[InferenceRow, ...]:
    """How fast every arm was evaluated, the untouched model first where it is."""
    by_arm: dict[str, list[StageForm]] = {}
    for stage in manifest["stages"]:
        if stage["kind"] == "evaluate" and stage.get("evaluate_seconds") and stage.get("tokens"):
            by_arm.setdefault(stage["cell"].get("arm") or BASE, []).append(stage)
    speeds = {
        arm: sum(stage["tokens"] for stage in stages) / sum(stage["evaluate_seconds"] for stage in stages)
        for arm, stages in by_arm.items()
    }
    return tuple(
        InferenceRow(
            arm=arm,
            runs=len(stages),
            tokens=int(sum(stage["tokens"] for stage in stages)),
            seconds=float(sum(stage["evaluate_seconds"] for stage in stages)),
            tokens_per_second=speeds[arm],
            ratio=speeds[arm] / speeds[BASE] if BASE in speeds else None,
        )
        for arm, stages in by_arm.items()
    )


def _sum(joules: Sequence[float]) -> float | None:
    return float(sum(joules)) if joules else None
