"""What a report is of, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from layersig.findings.files import model_name
from layersig.report.material import Material
from layersig.report.numbers import count, plural


def facts(material: Material) -> tuple[str, ...]:
    """Model, data, seeds, device and state of the run."""
    manifest = material.manifest
    machine = (str(manifest["machine"].get(key)) for key in ("device", "dtype") if manifest["machine"].get(key))
    seeds = len(manifest["seeds"])
    return (
        model_name(material.findings.model),
        *_data(material),
        *((plural(seeds, "seed"),) if seeds else ()),
        *((", ".join(machine),) if manifest["machine"].get("device") else ()),
        material.findings.status,
    )


def _data(material: Material) -> Iterator[str]:
    reports: Mapping[str, Mapping[str, Any]] = material.files.data_reports
    for source in material.manifest["sources"]:
        if source["role"] == "data":
            report = reports.get(source["label"], {})
            sizes = [
                f"{count(report[side]['conversations'])} {words}"
                for side, words in (("train", "training"), ("heldout", "held-out"))
                if side in report
            ]
            yield f"{source['label']}: {', '.join(sizes)} conversations" if sizes else source["label"]
