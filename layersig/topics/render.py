"""Which sections a report has, in their order."""

from __future__ import annotations

from layersig.report.document import Document
from layersig.report.material import Material
from layersig.report.numbers import plural
from layersig.report.sections import (
    agreement,
    answer,
    arms,
    blocks,
    bridge,
    carried,
    cost,
    data,
    failures,
    incidents,
    judge,
    layers,
    limitations,
    memorisation,
    provenance,
    recovery,
    removal,
    retention,
    rigor,
    stability,
    status,
    sweeps,
    training,
)

_SECTIONS = (
    status,
    answer,
    layers,
    arms,
    carried,
    sweeps,
    incidents,
    blocks,
    retention,
    removal,
    recovery,
    failures,
    judge,
    training,
    agreement,
    bridge,
    stability,
    cost,
    data,
    memorisation,
    limitations,
    rigor,
    provenance,
)


def document(material: Material) -> Document:
    """The whole report; a section that has nothing to say is left out."""
    findings, manifest = material.findings, material.manifest
    seeds = manifest["seeds"]
    labels = [source["label"] for source in manifest["sources"] if source["role"] == "data"]
    facts = [
        ("model", findings.model),
        ("data", ", ".join(labels) or "\u2013"),
        ("seeds", ", ".join(map(str, seeds)) or "\u2013"),
        ("layers", plural(len(findings.layers), "linear module") if findings.layers else "\u2013"),
        ("status", findings.status),
        ("run", findings.id),
    ]
    found = [module.section(material) for module in _SECTIONS]
    sections = tuple(section for section in found if section is not None)
    return Document(findings.name, "Which layers matter, and what tuning only those does", tuple(facts), sections)
