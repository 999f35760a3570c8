"""Which ranks single layers may hold, and which layers are shown to be among the top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layersig.analysis.agreement_sentences import top_set_sentence
from layersig.analysis.rank_intervals import MIN_SEEDS_FOR_RANKS, rank_intervals_seeds
from layersig.analysis.selections import descending_ranks
from layersig.findings.rankings import ScoreTable
from layersig.findings.rows.layers import LayerRow
from layersig.topics.ceilings.rows import RankSetRow, TopSetRow

_MOST_UNITS = 2000
"""All pairs are compared: beyond this, that takes gigabytes."""


def rank_set_rows(tables: Sequence[ScoreTable], units: Sequence[LayerRow], alpha: float) -> tuple[RankSetRow, ...]:
    """Every unit of the rankings that look at the model and have five seeds; none of larger models.

    Args:
        tables: The rankings.
        units: What they rank.
        alpha: The chance that any set of one ranking is wrong.
    """
    rows = []
    for table in tables:
        if table.control or len(table.seeds) < MIN_SEEDS_FOR_RANKS or not 2 <= len(units) <= _MOST_UNITS:
            continue
        sets = rank_intervals_seeds(table.scores, alpha)
        ranks = descending_ranks(np.array([each.mean for each in sets])) + 1
        rows += [
            RankSetRow(
                scorer=table.cell.scorer or "",
                data=table.cell.data,
                checkpoint=table.cell.checkpoint,
                number=unit.number,
                layer=unit.layer,
                rank=int(rank),
                best=each.best,
                worst=each.worst,
                seeds=len(table.seeds),
                level=1 - alpha,
            )
            for unit, each, rank in zip(units, sets, ranks, strict=True)
        ]
    return tuple(rows)


def top_set_rows(
    rows: Sequence[RankSetRow], tables: Sequence[ScoreTable], sizes: Sequence[int]
) -> tuple[TopSetRow, ...]:
    """What the rank sets of every ranking say of its top k."""
    found = []
    for table in tables:
        place = (table.cell.scorer or "", table.cell.data, table.cell.checkpoint)
        own = [row for row in rows if (row.scorer, row.data, row.checkpoint) == place]
        for k in sizes if own else ():
            inside, outside = sum(row.worst <= k for row in own), sum(row.best > k for row in own)
            seeds, level, n = own[0].seeds, own[0].level, len(own)
            found.append(
                TopSetRow(
                    scorer=place[0],
                    data=table.cell.data,
                    checkpoint=table.cell.checkpoint,
                    k=k,
                    of=n,
                    inside=inside,
                    outside=outside,
                    open=n - inside - outside,
                    seeds=seeds,
                    level=level,
                    sentence=top_set_sentence(table.named, k, n, inside, outside, seeds, level),
                )
            )
    return tuple(found)
