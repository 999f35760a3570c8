"""What a judge model says of pairs of answers, each shown in both orders, and whether it goes by the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from layersig.analysis.looks import EffectAtLook
from layersig.analysis.paired import sign_flip_test
from layersig.analysis.results import Effect
from layersig.analysis.tables import Floor, mean_of
from layersig.findings.arms import Arms
from layersig.findings.contrasts import scope_of
from layersig.findings.outcomes import Items
from layersig.records import Cell
from layersig.streams import Streams
from layersig.topics.judge.records import JudgeRecords, Pair, units_of_turns
from layersig.topics.judge.rows import PairRow, PositionRow

FloatArray = NDArray[np.float64]

_EVEN = 0.5


def pair_rows(records: JudgeRecords, arms: Arms) -> Iterator[PairRow]:
    """Wins, ties and losses of every arm against the baseline, on the turns that every seed has verdicts for."""
    for (arm, data), group in groupby(records.pairs, lambda cell: (cell.arm or "", cell.data)):
        cells = list(group)
        if arm in arms.plan.further_controls:
            continue
        for name in records.pairs[cells[0]]:
            yield from _rows(records, arms, name, arm, data, cells)


def _rows(
    records: JudgeRecords, arms: Arms, name: str, arm: str, data: str | None, cells: Sequence[Cell]
) -> Iterator[PairRow]:
    tables = [records.pairs[cell][name] for cell in cells]
    every = list(tables[0])
    turns = [turn for turn in every if all(table[turn] for table in tables)]
    if not turns:
        return
    points, won, lost = (
        np.array([[count(table[turn]) for turn in turns] for table in tables]) for count in (_points, _won, _lost)
    )
    seeds = tuple(cell.seed for cell in cells)
    brought = next((each for each in (arm, arms.plan.baseline) if each in arms.plan.brought), None)
    scope = scope_of(seeds, brought if len(seeds) > 1 else None)
    look = arms.outcomes.look_at(seeds)
    for by, label, mask in records.groups(name, turns):
        chosen = [turn for turn, kept in zip(turns, mask, strict=True) if kept]
        units = units_of_turns(points[:, mask], chosen)
        mean = mean_of(units, floor=Floor.LEVEL)
        estimate = mean if mean is None or look is None else EffectAtLook(mean, look)
        interval = estimate.interval(arms.level) if estimate else None
        win, loss = float(won[:, mask].mean()), float(lost[:, mask].mean())
        yield PairRow(
            arm=arm,
            reference=arms.plan.baseline,
            data=data,
            set=name,
            by=by,
            group=label,
            win=win,
            tie=max(0.0, 1 - win - loss),
            loss=loss,
            value=float(points[:, mask].mean()),
            se=estimate.se if estimate else None,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            level=arms.level,
            p=_p_value(estimate, units, Streams(arms.recipe.root_seed).generator("pairs", arm, name, by, label)),
            n=len(chosen),
            questions=len({question for question, _ in chosen}),
            seeds=len(seeds),
            scope=scope.value,
            unrated=len(every) - len(turns) if by == "all" else 0,
        )


def _p_value(estimate: Effect | None, units: FloatArray, rng: np.random.Generator) -> float | None:
    """Of no preference: questions flipped where there is one training run, else t over seeds and questions."""
    if estimate is None:
        return None
    return estimate.p_value(_EVEN) if len(units) > 1 else float(sign_flip_test(units[0] - _EVEN, rng).p)


def position_rows(records: JudgeRecords, arms: Arms) -> Iterator[PositionRow]:
    """The bias of position on every set, for all arms together and for each."""
    cells = list(records.pairs)
    for name in dict.fromkeys(name for sets in records.pairs.values() for name in sets):
        told = dict.fromkeys(cell.arm for cell in cells if cell.arm not in arms.plan.further_controls)
        for arm in (None, *told):
            row = _position(records, arms, name, arm, [cell for cell in cells if arm in (None, cell.arm)])
            if row is not None:
                yield row


def _position(
    records: JudgeRecords, arms: Arms, name: str, arm: str | None, cells: Sequence[Cell]
) -> PositionRow | None:
    by_question: dict[str, list[Pair]] = {}
    for cell in cells:
        for (question, _), repeats in records.pairs[cell][name].items():
            by_question.setdefault(question, []).extend(repeats)
    pairs = [pair for each in by_question.values() for pair in each]
    if not pairs:
        return None
    counts = {question: _decided(own) for question, own in by_question.items()}
    kept = {question: found for question, found in counts.items() if found[0]}
    estimate = interval = share = None
    if kept:
        weights, wins = np.array(list(kept.values()), dtype=np.float64).T
        units = Items(tuple(kept), weights, None).unit_values(wins / weights)
        estimate, share = mean_of(units[None], floor=Floor.LEVEL), float(wins.sum() / weights.sum())
        interval = estimate.interval(arms.level) if estimate else None
    return PositionRow(
        arm=arm,
        reference=arms.plan.baseline,
        set=name,
        pairs=len(pairs),
        flips=sum(pair.flips for pair in pairs) / len(pairs),
        decided=sum(decided for decided, _ in counts.values()),
        first=share,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        level=arms.level,
    )


def _decided(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Verdicts that are no tie, and those of them that the answer shown first wins."""
    decided = sum(value != _EVEN for pair in pairs for value in pair)
    # Shown second, the arm has 0 where the answer before it wins.
    return decided, sum((pair.leading == 1) + (pair.following == 0) for pair in pairs)


def _points(pairs: Sequence[Pair]) -> float:
    return float(np.mean(pairs))


def _won(pairs: Sequence[Pair]) -> float:
    return sum(pair == (1, 1) for pair in pairs) / len(pairs)


def _lost(pairs: Sequence[Pair]) -> float:
    return sum(pair == (0, 0) for pair in pairs) / len(pairs)
