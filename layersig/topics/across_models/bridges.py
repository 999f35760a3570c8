"""Necessity against plasticity over several models: a verdict for each, and what they say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from layersig.analysis.multiplicity import holm_of_tested
from layersig.analysis.results import Estimate
from layersig.findings.tables import Findings
from layersig.topics.across_models.study_rows import BridgeSummaryRow, ModelBridgeRow
from layersig.topics.bridge.rows import BRIDGE, BridgeRow

_LEAST = 3
"""Models that an interval over models takes."""
_CLIP = 0.9999


def model_bridge_rows(models: Mapping[str, Findings]) -> tuple[ModelBridgeRow, ...]:
    """The bridge of every model, its test corrected for all models and pairs of scorers.

    Args:
        models: What the run of each model found, by its name.
    """
    found = [(name, findings.alpha, row) for name, findings in models.items() for row in findings[BRIDGE]]
    adjusted = holm_of_tested([row.p for _, _, row in found])
    return tuple(_of_model(name, alpha, row, p) for (name, alpha, row), p in zip(found, adjusted, strict=True))


def bridge_summary_rows(rows: Sequence[ModelBridgeRow]) -> tuple[BridgeSummaryRow, ...]:
    """The mean over models of each correlation: models are the sample, so the interval counts them and nothing else.

    Tests are corrected over all of them.
    """
    found = list(_summaries(rows))
    adjusted = holm_of_tested([row.p for row in found])
    tests = sum(p is not None for p in adjusted)
    return tuple(_judged(row, p, tests) for row, p in zip(found, adjusted, strict=True))


def _summaries(rows: Sequence[ModelBridgeRow]) -> Iterator[BridgeSummaryRow]:
    grouped: dict[tuple[str, str, str | None], list[ModelBridgeRow]] = defaultdict(list)
    for row in rows:
        grouped[row.necessity, row.plasticity, row.data].append(row)
    for members in grouped.values():
        if len(members) > 1:
            yield _summary(members, "correlation", [member.correlation for member in members])
        tested = [member.residual for member in members if member.residual is not None]
        if len(tested) > 1:
            yield _summary(members, "residual", tested)


def _of_model(name: str, alpha: float, row: BridgeRow, adjusted: float | None) -> ModelBridgeRow:
    where = f"{row.blocks} blocks, {row.runs} run{'s' * (row.runs > 1)}"
    figures = f"correlation {row.correlation:.2f} [{row.low:.2f}, {row.high:.2f}] with depth"
    if row.residual is None or adjusted is None:
        verdict, said = "no test", "blocks are too few to tell anything beyond depth"
    else:
        figures += f", {row.residual:.2f} beyond it, corrected p {adjusted:.3f}"
        if adjusted > alpha:
            verdict, said = "cannot tell", "not shown to go together or apart beyond depth"
        elif row.residual > 0:
            verdict, said = "together", "what the model needs is what training moves, beyond depth"
        else:
            verdict, said = "apart", "training moves what the model needs less, beyond depth"
    return ModelBridgeRow(
        model=name,
        necessity=row.necessity,
        plasticity=row.plasticity,
        data=row.data,
        blocks=row.blocks,
        runs=row.runs,
        correlation=row.correlation,
        low=row.low,
        high=row.high,
        level=row.level,
        residual=row.residual,
        p=row.p,
        adjusted_p=adjusted,
        verdict=verdict,
        sentence=f"Exploratory: {name}, {_pair(row)}: {said} ({figures}; {where}).",
    )


def _summary(members: Sequence[ModelBridgeRow], quantity: str, values: Sequence[float]) -> BridgeSummaryRow:
    first, count = members[0], len(values)
    z = np.arctanh(np.clip(values, -_CLIP, _CLIP))
    mean = float(z.mean())
    low = high = p = None
    if count >= _LEAST and np.ptp(z) > 0:
        estimate = Estimate(mean, float(z.std(ddof=1) / np.sqrt(count)), count - 1)
        ends, p = estimate.interval(first.level), estimate.p_value()
        low, high = float(np.tanh(ends.low)), float(np.tanh(ends.high))
    return BridgeSummaryRow(
        necessity=first.necessity,
        plasticity=first.plasticity,
        data=first.data,
        quantity=quantity,
        models=count,
        mean=float(np.tanh(mean)),
        low=low,
        high=high,
        least=min(values),
        most=max(values),
        level=first.level,
        p=p,
        adjusted_p=None,
        verdict="cannot tell",
        sentence="",
    )


def _judged(row: BridgeSummaryRow, adjusted: float | None, tests: int) -> BridgeSummaryRow:
    """The row with the verdict that its corrected test allows."""
    shown = adjusted is not None and adjusted <= 1 - row.level
    verdict = ("together" if row.mean > 0 else "apart") if shown else "cannot tell"
    beyond = "beyond depth" if row.quantity == "residual" else "depth included"
    said = {
        "together": f"over models, necessity and plasticity go together ({beyond})",
        "apart": f"over models, necessity and plasticity go apart ({beyond})",
        "cannot tell": f"these models do not tell whether necessity and plasticity go together ({beyond})",
    }[verdict]
    figures = f"mean correlation {row.mean:.2f}"
    if row.low is None or row.high is None:
        figures += f", no interval with fewer than {_LEAST} models" if row.models < _LEAST else ", no variation"
    else:
        figures += f", {100 * row.level:.4g} % interval [{row.low:.2f}, {row.high:.2f}]"
        figures += f", p {row.p:.3f}, corrected for {tests} test{'s' * (tests > 1)} {adjusted:.3f}"
    figures += f", single models {row.least:.2f} to {row.most:.2f}, {row.models} models"
    sentence = f"Exploratory: {_pair(row)}: {said}: {figures}."
    return row.model_copy(update={"adjusted_p": adjusted, "verdict": verdict, "sentence": sentence})


def _pair(row: BridgeRow | ModelBridgeRow | BridgeSummaryRow) -> str:
    return f"{row.necessity} and {row.plasticity}{f' on {row.data}' if row.data else ''}"
