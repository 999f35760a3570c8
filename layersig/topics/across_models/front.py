"""The first screen of the report on several models: whether they agree, each model's answer, and the limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING, SharingVerdict
from layersig.report.document import Block, Bullets, Callout, Heading, Step, Steps, Strong, Text
from layersig.report.material import Material
from layersig.report.numbers import plural
from layersig.topics.across_models.rows import ModelPairRow
from layersig.topics.front.headline import headline
from layersig.topics.front.next_steps import more_evidence
from layersig.topics.front.scorers import about_scorers
from layersig.topics.front.standings import places_of
from layersig.topics.front.words import listed


def whether_shared(pairs: Sequence[ModelPairRow]) -> str:
    """How many rankings carry over from one model to another, in one sentence."""
    if not pairs:
        return "No ranking of one model can be compared with that of another."
    same = (SharingVerdict.SHARED.value, SharingVerdict.EQUAL.value)
    judged = [row for row in pairs if row.verdict in (*same, SharingVerdict.NOT_SHOWN.value)]
    scorers = listed(list(dict.fromkeys(row.scorer for row in pairs)))
    if not judged:
        return f"Whether models share the layers that {scorers} puts first cannot be told from these runs."
    shared = sum(row.verdict in same for row in judged)
    if not shared:
        return f"By {scorers}, models are not shown to share layers as two seeds of one model do."
    return (
        f"By {scorers}, models share layers nearly as much as two seeds of one model do in {shared} of "
        f"{len(judged)} comparisons."
    )


def answers(
    materials: Mapping[str, Material], pairs: Sequence[ModelPairRow], notes: Sequence[str], figures: Sequence[Block]
) -> tuple[Block, ...]:
    """The blocks below that sentence.

    Args:
        materials: The run of each model, by its name.
        pairs: Rankings carried from one model to another.
        notes: What could not be compared.
        figures: The picture of the agreement.
    """
    first = next(iter(materials.values()))
    limits = (*_limits(materials, pairs), *((note,) for note in notes))
    each = tuple((Strong(name), f": {_own(material)}") for name, material in materials.items())
    return (
        Callout("note", "How far this goes", limits),
        Heading("The answer for each model"),
        Bullets((*each, *about_scorers(first, places_of(first)))),
        *figures,
        Heading("What next"),
        Steps(tuple(_steps(materials))),
    )


def _own(material: Material) -> str:
    return headline(material, places_of(material))


def _limits(materials: Mapping[str, Material], pairs: Sequence[ModelPairRow]) -> Iterator[Text]:
    yield (
        f"This holds for these {plural(len(materials), 'model')} and data only. Comparisons between models are "
        "exploratory; each run's own report lists the comparisons that it declared.",
    )
    if pairs and (seeds := min(row.seeds for row in pairs)) < MIN_SEEDS_FOR_SHARING:
        yield (
            f"{plural(seeds, 'seed')} per model: agreement between models is judged against agreement between seeds, "
            f"which takes at least {MIN_SEEDS_FOR_SHARING}.",
        )


def _steps(materials: Mapping[str, Material]) -> Iterator[Step]:
    first = next(iter(materials.values()))
    yield from more_evidence(first, places_of(first))
    for name, material in materials.items():
        run = f"{material.findings.name}/{material.findings.id}"
        yield Step(f"The report of {name}, with its layers and arms:", f"layersig open {run}")
