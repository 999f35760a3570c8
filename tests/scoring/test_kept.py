"""The score by which a task selects is the one on which arms are judged."""

from __future__ import annotations

import pytest

from layersig.errors import UserError
from layersig.evaluating.items import TaskScores
from layersig.findings.outcomes import outcome_tables
from layersig.records import Cell, Outcome
from layersig.scoring.kept import score_of


def scored(*metrics: str) -> TaskScores:
    """A task whose n-th metric has the mean n."""
    outcomes = [Outcome("t", item, metric, value) for value, metric in enumerate(metrics) for item in "ab"]
    return TaskScores(tuple(outcomes), (), {}, (), {}, (), {})


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        (("exact_match,strict-match", "exact_match,flexible-extract"), "exact_match,flexible-extract"),
        (("acc", "acc_norm"), "acc_norm"),
        (("acc", "logprob"), "acc"),
        (("exact_match", "math_answer"), "math_answer"),
        (("zeta", "passes@10", "passes"), "passes"),
        (("zeta", "eta"), "eta"),
    ],
)
def test_a_task_selects_by_its_primary_metric(metrics: tuple[str, ...], chosen: str) -> None:
    found = scored(*metrics)
    assert score_of("t", found) == metrics.index(chosen)
    tables = outcome_tables([(Cell(arm="base"), found.outcomes)])
    assert [measure.metric for measure in tables.values if tables.primary(measure)] == [chosen]


@pytest.mark.parametrize("metrics", [(), ("loss",)])
def test_a_task_without_a_score_of_every_item_selects_nothing(metrics: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="cannot select"):
        score_of("t", scored(*metrics))
