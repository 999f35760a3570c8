"""The first screen as blocks of a page."""

from __future__ import annotations

from layersig.report.document import Block, Bullets, Callout, Heading, Paragraph, Steps
from layersig.report.material import Material
from layersig.topics.front.chosen import composition, distinct_choices, figure
from layersig.topics.front.declared import declared_of_rankings
from layersig.topics.front.headline import headline
from layersig.topics.front.limits import limits
from layersig.topics.front.next_steps import next_steps
from layersig.topics.front.ranked import ranked
from layersig.topics.front.rows import contrasts, table
from layersig.topics.front.scorers import about_scorers
from layersig.topics.front.standings import amount_of, places_of


def first_screen(material: Material) -> tuple[str, tuple[Block, ...]]:
    """The answer in one sentence, and what comes with it: limits, arms, layers, what to do next."""
    places = places_of(material)
    blocks: list[Block] = []
    scorers = [Bullets(told)] if (told := about_scorers(material, places)) else []
    if told := limits(material, places):
        blocks.append(Callout("note", "How far this goes", told))
    if places:
        blocks += [table(material, places), *scorers]
        if pairs := tuple(contrasts(material, places)):
            blocks += [Heading("Declared contrasts"), Bullets(tuple((pair,) for pair in pairs))]
        of_blocks = amount_of(material, places[0].lead.selection)[2] == "block"
        blocks += [Heading("Which blocks" if of_blocks else "Which layers"), figure(material, places)]
        choices = distinct_choices(material, places)
        for place, names in choices:
            where = (f"{names}: ",) if len(choices) > 1 else ()
            blocks.append(Paragraph((*where, *composition(material, place))))
    else:
        blocks += [*ranked(material), *scorers]
    if tests := declared_of_rankings(material):
        blocks += [Heading("Declared tests of rankings"), Bullets(tuple((test,) for test in tests))]
    if steps := next_steps(material, places):
        blocks += [Heading("What next"), Steps(steps)]
    return headline(material, places), tuple(blocks)
