"""Sections of the report on several models: what changes with size, and necessity against plasticity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layersig.findings.rows.base import Row
from layersig.findings.tables import Findings
from layersig.report.charts.forest import ForestRow, Panel, forest
from layersig.report.document import Block, Bullets, Figure, Inline, Paragraph, Section, Table, columns
from layersig.report.numbers import fixed, p_value
from layersig.report.svg import described, draw
from layersig.topics.across_models.bridges import bridge_summary_rows, model_bridge_rows
from layersig.topics.across_models.rankings import RankedModel
from layersig.topics.across_models.rows import ModelCeilingRow, ModelPairRow
from layersig.topics.across_models.sizes import model_size_rows, model_trend_rows
from layersig.topics.across_models.study_rows import BridgeSummaryRow, ModelBridgeRow, ModelSizeRow, ModelTrendRow

_NONE = "\u2013"


@dataclass(frozen=True, slots=True)
class Studies:
    """What a study over models asks beside the agreement of its rankings.

    Attributes:
        sizes: Values beside the sizes of the models.
        trends: Whether they change with size.
        bridges: Necessity and plasticity in each model.
        summaries: The same over models.
        repeated: Models that another stands for, since both runs used the same one.
    """

    sizes: tuple[ModelSizeRow, ...]
    trends: tuple[ModelTrendRow, ...]
    bridges: tuple[ModelBridgeRow, ...]
    summaries: tuple[BridgeSummaryRow, ...]
    repeated: Mapping[str, str]

    @classmethod
    def of(
        cls,
        found: Mapping[str, Findings],
        models: Sequence[RankedModel],
        ceilings: Sequence[ModelCeilingRow],
        pairs: Sequence[ModelPairRow],
    ) -> Studies:
        """Everything that the runs allow.

        Args:
            found: What the run of each model found, by its name.
            models: The models.
            ceilings: How far the seeds of each agree.
            pairs: Rankings carried from one to another.
        """
        recipe, repeated = models[0].recipe, repeated_models(found)
        distinct = {name: findings for name, findings in found.items() if name not in repeated}
        sizes = model_size_rows(distinct, ceilings, pairs, models[0].fractions)
        bridges = model_bridge_rows(distinct)
        return cls(
            sizes,
            model_trend_rows(sizes, 1 - recipe.analyze.alpha, recipe.root_seed),
            bridges,
            bridge_summary_rows(bridges),
            repeated,
        )

    def tables(self) -> dict[str, tuple[Row, ...]]:
        """The rows by the name of their file."""
        return {
            "model_sizes": self.sizes,
            "model_trends": self.trends,
            "model_bridges": self.bridges,
            "bridge_summaries": self.summaries,
        }


def repeated_models(found: Mapping[str, Findings]) -> Mapping[str, str]:
    """Models that another one stands for, by its name: the runs of both used the same one.

    Args:
        found: What the run of each model found, by its name.
    """
    first: dict[str, str] = {}
    for name, findings in found.items():
        first.setdefault(findings.model, name)
    return {name: first[each.model] for name, each in found.items() if first[each.model] != name}


def study_sections(studies: Studies) -> tuple[Section, ...]:
    """Those that have something to say."""
    found = []
    if studies.sizes:
        found.append(Section("sizes", "What changes with size", tuple(_sizes(studies))))
    if studies.bridges:
        found.append(Section("bridges", "Necessity and plasticity", tuple(_bridges(studies))))
    return tuple(found)


def _sizes(studies: Studies) -> list[Block]:
    about = Paragraph(
        (
            "Size is the number of weights in linear layers. A trend asks whether the value rises or falls from "
            "model to model: Kendall's test over all orders of the models, and the change for twice the weights with "
            "the exact interval that inverts the test (Theil and Sen). Models count, not seeds or items, so that "
            "fewer than five models cannot show a trend at 5 %. Models of one family also differ in depth and "
            "training; agreement with the largest model shares that model's noise. What as many layers drawn at "
            "random keep is shown next to the gain kept, and has no trend of its own. A model takes no part in a "
            "trend of the gain kept where all layers are not shown to gain more than the margin, or where the set of "
            "the share is unbounded.",
        )
    )
    blocks: list[Block] = [about]
    blocks += _repeated(studies)
    if studies.trends:
        blocks.append(Bullets(tuple((row.sentence,) for row in studies.trends)))
    heads = columns("quantity", "of", "model", "#weights", "#blocks", "#value [interval]")
    body = tuple(
        (
            row.quantity,
            row.subject,
            row.model,
            f"{row.weights:,}",
            str(row.blocks),
            _between(row.value, row.low, row.high),
        )
        for row in studies.sizes
    )
    blocks.append(_forest(studies.sizes))
    blocks.append(Table("Every value beside the size of its model", heads, body, "model_sizes.csv"))
    return blocks


def _repeated(studies: Studies) -> list[Block]:
    """Models that count once, since a fallback made them the same."""
    said = [
        (f"{name} is the same model as {other} in these runs, and is left out here.",)
        for name, other in studies.repeated.items()
    ]
    return [Bullets(tuple(said))] if said else []


def _forest(rows: Sequence[ModelSizeRow]) -> Figure:
    panels = []
    for quantity, subject in dict.fromkeys((row.quantity, row.subject) for row in rows):
        own = [row for row in rows if (row.quantity, row.subject) == (quantity, subject)]
        drawn = tuple(
            ForestRow(row.model, "", row.value, row.low, row.high, (), fixed(row.value, 2), f"{row.weights:,} weights")
            for row in sorted(own, key=lambda row: row.weights)
        )
        axis = "share of the gain of all layers" if quantity == "gain kept" else "kappa"
        panels.append(Panel(f"{quantity}: {subject}", axis, drawn, None, 1.0 if quantity == "gain kept" else 0.0))
    alt = "A value for each model with its interval, from the smallest model to the largest."
    caption = "From the smallest model to the largest; bar: the interval of the model itself."
    svg = described(draw(forest(panels), "model-sizes"), alt)
    return Figure("model-sizes", "What changes with size", svg, alt, caption, ("model_sizes.csv",))


def _bridges(studies: Studies) -> list[Block]:
    about = Paragraph(
        (
            "Necessity is what the pretrained model loses without a block, plasticity how far training moves it: the "
            "statistics are those of the report of each run. A verdict for a model rests on the correlation beyond "
            "smooth depth, its p corrected for all models. Over models, the mean of Fisher's z has a t interval that "
            "counts models and nothing else: it applies to models like these, and takes three. Its p is corrected over "
            "all pairs of scorers and both correlations.",
        )
    )
    heads = columns(
        "model", "necessity", "plasticity", "data", "#blocks", "#correlation [interval]", "#residual correlation",
        "#p, corrected", "verdict",
    )  # fmt: skip
    body: tuple[tuple[Inline, ...], ...] = tuple(
        (
            row.model,
            row.necessity,
            row.plasticity,
            row.data or _NONE,
            str(row.blocks),
            _between(row.correlation, row.low, row.high),
            fixed(row.residual, 2),
            p_value(row.adjusted_p),
            row.verdict,
        )
        for row in studies.bridges
    )
    blocks: list[Block] = [about, *_repeated(studies)]
    if studies.summaries:
        blocks.append(Bullets(tuple((row.sentence,) for row in studies.summaries)))
        blocks.append(_summaries(studies.summaries))
    blocks.append(Bullets(tuple((row.sentence,) for row in studies.bridges)))
    blocks.append(Table("Necessity and plasticity in every model", heads, body, "model_bridges.csv"))
    return blocks


def _summaries(rows: Sequence[BridgeSummaryRow]) -> Table:
    heads = columns(
        "necessity",
        "plasticity",
        "data",
        "correlation",
        "#models",
        "#mean [interval]",
        "#single models",
        "#p, corrected",
        "verdict",
    )
    body = tuple(
        (
            row.necessity,
            row.plasticity,
            row.data or _NONE,
            "beyond depth" if row.quantity == "residual" else "depth included",
            str(row.models),
            _between(row.mean, row.low, row.high),
            f"{fixed(row.least, 2)} to {fixed(row.most, 2)}",
            p_value(row.adjusted_p),
            row.verdict,
        )
        for row in rows
    )
    return Table("Over models", heads, body, "bridge_summaries.csv")


def _between(value: float, low: float | None, high: float | None) -> str:
    return fixed(value, 2) if low is None or high is None else f"{fixed(value, 2)} [{fixed(low, 2)}, {fixed(high, 2)}]"
