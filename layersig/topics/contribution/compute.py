"""From the losses after every training to gains and contributions of units with their sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from layersig.analysis.fieller import fieller_set
from layersig.analysis.quantiles import t_quantile
from layersig.analysis.results import FloatArray
from layersig.analysis.simultaneous import largest_of
from layersig.findings.evidence import Evidence
from layersig.findings.shown import ShownSet, finite_set
from layersig.jsonform import read_jsonl
from layersig.records import EVERYTHING, UNTRAINED, ContributionForm
from layersig.streams import Streams
from layersig.topics.contribution.rows import ContributionRow

KIND = "layer-contribution"


def contribution_rows(evidence: Evidence) -> Iterator[ContributionRow]:
    """Every unit of every run of the scorer."""
    level, streams = evidence.arms.level, Streams(0)
    for scored in evidence.files.rankings:
        cell = scored.cell
        choice = evidence.recipe.scorers.get(cell.scorer or "")
        if choice is None or choice.kind != KIND:
            continue
        places = [cell.scorer, (cell.data or "").partition(">")[0], f"seed-{cell.seed}"]
        path = evidence.files.path / "trajectories" / f"{'/'.join(map(str, places))}.jsonl"
        if not path.exists():
            continue
        lines = {line["trained"]: line for line in read_jsonl(path, ContributionForm)}
        blocks = {group.name: group.block for group in evidence.files.groups(scored.ranking.unit)}
        names = [name for name in lines if name not in (UNTRAINED, EVERYTHING)]
        rng = streams.generator("contribution", cell.key)
        for row in _of_run(lines, names, level, rng):
            yield ContributionRow(
                scorer=cell.scorer or "",
                data=cell.data,
                seed=cell.seed,
                block=blocks.get(str(row["layer"])),
                level=level,
                **row,
            )


def _of_run(
    lines: Mapping[str, ContributionForm], names: Sequence[str], level: float, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    ranked, fresh = (_gains(lines, names, half) for half in ("chosen_by", "fresh"))
    count = ranked.shape[1]
    means = ranked[:-1].mean(axis=1)
    centred = (ranked[:-1] - means[:, None]) / count
    errors = ranked[:-1].std(axis=1, ddof=1) / count**0.5
    # A unit that learned nothing has no spread, and no part in the largest t.
    spread = errors > 0
    law = largest_of(centred[spread], errors[spread], count - 1, rng) if spread.any() else None
    half = 0.0 if law is None else t_quantile((1 + law.single_level(level)) / 2, count - 1)
    for number, name in enumerate(names):
        c, fresh_c = (_contribution(gains, number, level) for gains in (ranked, fresh))
        t = means[number] / errors[number] if spread[number] else 0.0
        yield {
            "layer": name,
            "groups": count,
            "gain": float(means[number]),
            "low": float(means[number] - half * errors[number]),
            "high": float(means[number] + half * errors[number]),
            "adjusted_p": 1.0 if law is None or not spread[number] else law.p_value(float(t)),
            "contribution": c.ratio,
            "shape": c.shape,
            "contribution_low": c.low,
            "contribution_high": c.high,
            "fresh_gain": float(fresh[number].mean()),
            "fresh_contribution": fresh_c.ratio,
            "fresh_shape": fresh_c.shape,
            "fresh_low": fresh_c.low,
            "fresh_high": fresh_c.high,
        }


def _gains(lines: Mapping[str, ContributionForm], names: Sequence[str], half: str) -> FloatArray:
    """Fall of the loss by group of conversations, shape (units + 1, groups); everything trained is last."""
    losses = np.array([lines[name][half] for name in (*names, EVERYTHING)])  # type: ignore[literal-required]
    return np.asarray(np.array(lines[UNTRAINED][half]) - losses)  # type: ignore[literal-required]


def _contribution(gains: FloatArray, number: int, level: float) -> ShownSet:
    pair, count = gains[[number, -1]], gains.shape[1]
    numerator, denominator = pair.mean(axis=1)
    return finite_set(fieller_set(float(numerator), float(denominator), np.cov(pair) / count, count - 1, level))
