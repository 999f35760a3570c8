"""What changes with the size of a model: the agreement of seeds and with the largest model, and the gain kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from layersig.analysis.assay import AssayResult
from layersig.analysis.associations import Association, monotone
from layersig.analysis.fieller import SetShape
from layersig.analysis.multiplicity import holm
from layersig.findings.rows.arms import ASSAYS, COMPARISONS, SHARES
from layersig.findings.rows.layers import LAYERS
from layersig.findings.tables import Findings
from layersig.streams import Streams
from layersig.topics.across_models.rows import ModelCeilingRow, ModelPairRow
from layersig.topics.across_models.study_rows import ModelSizeRow, ModelTrendRow

_LEAST = 3


class _Value(NamedTuple):
    """One value of a model."""

    quantity: str
    subject: str
    value: float
    low: float | None
    high: float | None
    level: float
    control: bool = False
    tested: bool = True


def model_size_rows(
    models: Mapping[str, Findings],
    ceilings: Sequence[ModelCeilingRow],
    pairs: Sequence[ModelPairRow],
    fractions: Sequence[float],
) -> tuple[ModelSizeRow, ...]:
    """Every value that the models have in common, beside the size of each; from the smallest model to the largest.

    Args:
        models: What the run of each model found, by its name.
        ceilings: How far the seeds of each model agree.
        pairs: Rankings carried from model to model.
        fractions: Shares of layers that all of them are compared at.
    """
    weights = {name: sum(layer.parameters for layer in found[LAYERS]) for name, found in models.items()}
    ordered = sorted(models, key=lambda name: weights[name])
    found = [
        ModelSizeRow(
            model=name,
            weights=weights[name],
            blocks=len({layer.block for layer in models[name][LAYERS] if layer.block is not None}),
            quantity=value.quantity,
            subject=value.subject,
            value=value.value,
            low=value.low,
            high=value.high,
            level=value.level,
            control=value.control,
            tested=value.tested,
        )
        for name in ordered
        for value in (
            *_agreement(name, ordered[-1], ceilings, pairs, fractions, 1 - models[name].alpha),
            *_gains(models[name]),
        )
    ]
    return tuple(sorted(found, key=lambda each: (each.quantity, each.subject)))


def model_trend_rows(rows: Sequence[ModelSizeRow], level: float, root_seed: int) -> tuple[ModelTrendRow, ...]:
    """Whether each value rises or falls over three or more models.

    Controls are not tested: every further test would cost the others power, of which few models have little. Nor are
    shares of a gain that is not shown.

    Args:
        rows: Values of the models.
        level: Coverage of the intervals.
        root_seed: Root of the random orders, where there are too many models for all orders.
    """
    grouped: dict[tuple[str, str], list[ModelSizeRow]] = defaultdict(list)
    for row in rows:
        if row.tested:
            grouped[row.quantity, row.subject].append(row)
    found: list[tuple[tuple[str, str], int, Association]] = []
    for key, members in grouped.items():
        doublings = np.log2([member.weights for member in members])
        rng = Streams(root_seed).generator("model sizes", *key)
        association = monotone(doublings, np.array([member.value for member in members]), rng, level)
        if association is not None and len(members) >= _LEAST:
            found.append((key, len(members), association))
    adjusted = holm(np.array([association.p for _, _, association in found])) if found else np.zeros(0)
    return tuple(
        _trend(key, count, association, float(p), len(found), level)
        for (key, count, association), p in zip(found, adjusted, strict=True)
    )


def _trend(
    key: tuple[str, str], models: int, association: Association, adjusted: float, tests: int, level: float
) -> ModelTrendRow:
    quantity, subject = key
    direction = "rises" if association.value > 0 else "falls"
    verdict = direction if adjusted <= 1 - level else "cannot tell"
    interval, slope = association.interval, association.slope or 0.0
    figures = f"tau {association.value:.2f}, p {association.p:.3f}, corrected for {tests} trends {adjusted:.3f}"
    figures += f"; {slope:+.3f} for twice the weights"
    if interval is not None:
        figures += f", {100 * level:.4g} % interval [{interval.low:+.3f}, {interval.high:+.3f}]"
    if verdict == "cannot tell" and association.least_p * tests > 1 - level:
        figures += f"; with {models} models the smallest p that a result could have is {association.least_p:.3f}"
    said = {
        "rises": f"{quantity} rises with the size of the model",
        "falls": f"{quantity} falls with the size of the model",
        "cannot tell": f"these models cannot tell whether {quantity} depends on size",
    }[verdict]
    return ModelTrendRow(
        quantity=quantity,
        subject=subject,
        models=models,
        tau=association.value,
        slope=slope,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=level,
        p=association.p,
        least_p=association.least_p,
        adjusted_p=adjusted,
        verdict=verdict,
        sentence=f"Exploratory: {said} ({subject}; {figures}; {models} models).",
    )


def _agreement(
    name: str,
    largest: str,
    ceilings: Sequence[ModelCeilingRow],
    pairs: Sequence[ModelPairRow],
    fractions: Sequence[float],
    level: float,
) -> Iterator[_Value]:
    for row in ceilings:
        if row.model == name:
            yield _Value("agreement of seeds", _subject(row, fractions), row.kappa, row.low, row.high, level)
    for pair in pairs:
        if (pair.source, pair.target) == (name, largest):
            quantity = f"agreement with {largest}"
            yield _Value(quantity, _subject(pair, fractions), pair.kappa, pair.low, pair.high, level)


def _gains(found: Findings) -> Iterator[_Value]:
    """Of the primary arms, and of the random controls that show what as many layers keep by chance.

    A share of what may be nothing has any size and either sign. It takes part in no trend where all layers are not
    shown to gain, or its set is unbounded.
    """
    gained = {(row.data, row.task, row.metric) for row in found[ASSAYS] if row.moved == AssayResult.GAIN.value}
    controls = {
        row.reference for row in found[COMPARISONS] if row.role == "random control" and row.arm in found.primary_arms
    }
    for row in found[SHARES]:
        if row.primary and row.arm in controls.union(found.primary_arms):
            subject = f"{row.arm}{f' on {row.data}' if row.data else ''}: {row.task}, {row.metric}"
            bounded, control = row.shape == SetShape.INTERVAL.value, row.arm in controls
            ends = (row.low, row.high) if bounded else (None, None)
            tested = bounded and not control and (row.data, row.task, row.metric) in gained
            yield _Value("gain kept", subject, row.share, *ends, row.level, control, tested)


def _subject(row: ModelCeilingRow | ModelPairRow, fractions: Sequence[float]) -> str:
    """The ranking and its share of layers as the recipe gives it: what is selected is rounded in every model."""
    share = min(fractions, key=lambda fraction: abs(fraction - row.k / row.of))
    return f"{row.scorer}{f' on {row.data}' if row.data else ''}, top {100 * share:.4g} %"
