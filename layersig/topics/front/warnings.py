"""What a reader must know before anything else: replaced sources, a run that is not complete."""

from __future__ import annotations

from layersig.report.document import Callout, Code, Strong, Text
from layersig.report.material import Material

_STATES = {
    "running": "The run is not finished; this report shows what is there so far.",
    "failed": "The run failed; this report shows what is complete.",
    "stopped": "The process ended before the run did. The run can be resumed; this report shows what is complete.",
    "interrupted": "The run was interrupted and can be continued; this report shows what is complete.",
}


def warnings(material: Material) -> tuple[Callout, ...]:
    """The loudest first; none for the first look at a complete run that used what its recipe names."""
    blocks = []
    if replaced := [source for source in material.manifest["sources"] if source.get("fallback")]:
        items: list[Text] = [
            (
                "The ",
                source["role"],
                " ",
                Code(source["name"]),
                " was declared as ",
                Code(source["spec"]),
                ", which could not be reached. ",
                Strong("Used instead:"),
                " ",
                Code(source["resolved"]),
                ". Everything below carries the name ",
                Code(source["label"]),
                ".",
            )
            for source in replaced
        ]
        blocks.append(Callout("warning", "Sources were replaced by their fallbacks", tuple(items)))
    if material.findings.smoke:
        text = (
            "Every training was cut to 2 steps (smoke run). The numbers below prove that the run works, nothing else."
        )
        blocks.append(Callout("warning", "Smoke run", ((text,),)))
    if skipped := material.manifest.get("skipped"):
        blocks.append(Callout("note", "Not measured", tuple((note,) for note in skipped)))
    if material.findings.looks is not None:
        title = "Results of this study had been looked at before"
        blocks.append(Callout("warning", title, ((material.findings.looks,),)))
    told: list[Text] = []
    if (state := _STATES.get(material.findings.status)) is not None:
        told.append((state,))
    told += [(note,) for note in material.findings.notes]
    if told:
        blocks.append(Callout("note", "What is missing here", tuple(told)))
    return tuple(blocks)
