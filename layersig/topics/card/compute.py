"""From the trajectories of `whitened-gradient`, shapes and other rankings to the card of every unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from layersig.errors import UserError
from layersig.findings.evidence import Evidence
from layersig.findings.files import Scored
from layersig.findings.lead import primary_scorers
from layersig.jsonform import read_jsonl
from layersig.layers import Group
from layersig.plugin.manager import installed
from layersig.selecting.costs import Arithmetic
from layersig.topics.card.rows import LayerCardRow

KIND = "whitened-gradient"


def card_rows(evidence: Evidence) -> Iterator[LayerCardRow]:
    """Every unit of every scorer of that kind and data set."""
    runs: dict[tuple[str, str | None], list[Scored]] = {}
    for scored in evidence.files.rankings:
        choice = evidence.recipe.scorers.get(scored.cell.scorer or "")
        if choice is not None and choice.kind == KIND and scored.ranking.unit is evidence.unit:
            runs.setdefault((scored.cell.scorer or "", scored.cell.data), []).append(scored)
    times = _times(evidence) if runs else {}
    for (scorer, data), found in runs.items():
        inputs = [each for each in (_inputs(evidence, scored) for scored in found) if each]
        if not inputs:
            continue
        other, scores = _other(evidence, scorer, data)
        for group in evidence.groups:
            signals = [scored.ranking.scores[group.name] for scored in found]
            own = [ranking[group.name] for ranking in scores]
            layers = [[by_name[layer.name] for layer in group.members] for by_name in inputs]
            yield LayerCardRow(
                scorer=scorer,
                data=data,
                layer=group.name,
                block=group.block,
                kind=group.kind,
                runs=len(found),
                signal=fmean(signals),
                signal_se=_error(signals),
                energy=fmean(sum(layer["energy"] for layer in each) for each in layers),
                condition=median(max(layer["condition"] for layer in each) for each in layers),
                time=times.get(group.name),
                scored_by=other,
                score=fmean(own) if own else None,
                score_se=_error(own),
            )


def _error(values: Sequence[float]) -> float | None:
    """Standard error of a mean over seeds."""
    return float(stdev(values) / len(values) ** 0.5) if len(values) > 1 else None


def _inputs(evidence: Evidence, scored: Scored) -> Mapping[str, Mapping[str, Any]]:
    """What a run recorded of the inputs of every layer, by its name; nothing where it has no record."""
    cell = scored.cell
    places = [cell.scorer, (cell.data or "").partition(">")[0], f"seed-{cell.seed}"]
    path = evidence.files.path / "trajectories" / f"{'/'.join(map(str, places))}.jsonl"
    return {line["layer"]: line for line in read_jsonl(path, dict[str, Any])} if path.exists() else {}


def _other(evidence: Evidence, scorer: str, data: str | None) -> tuple[str | None, list[Mapping[str, float]]]:
    """Another scorer of the same units, and its rankings on the data set."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for scored in evidence.files.rankings:
        name = scored.cell.scorer or ""
        if name != scorer and scored.cell.data in (None, data) and scored.ranking.unit is evidence.unit:
            found.setdefault(name, []).append(scored.ranking.scores)
    first = next((name for name in (*primary_scorers(evidence.recipe), *found) if name in found), None)
    return first, [] if first is None else found[first]


def _times(evidence: Evidence) -> Mapping[str, float]:
    """What training each unit alone takes of the time of all, by multiplications; the head is left out.

    Nothing where the tuning method came from a plugin's file, which is not here when a report is made.
    """
    groups: Sequence[Group] = evidence.groups
    settings = evidence.recipe.train
    try:
        method = installed().get("method", settings.method)
    except UserError:
        return {}
    work = method.create()
    trained = {group.name: sum(work.trained_values(layer, settings) for layer in group.members) for group in groups}
    costs = Arithmetic(tuple(groups), trained, method.result == "checkpoint", settings, vocabulary=0).time
    return {group.name: costs.of([group]) / costs.everything for group in groups}
