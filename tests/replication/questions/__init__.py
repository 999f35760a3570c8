"""The questions of the replication, in the order of the overview."""

from __future__ import annotations

from tests.replication.answers import Question
from tests.replication.questions import alignment, claims, data, estimators, pruning

QUESTIONS: tuple[Question, ...] = (
    *alignment.QUESTIONS,
    *estimators.QUESTIONS,
    *data.QUESTIONS,
    *pruning.QUESTIONS,
    *claims.QUESTIONS,
)
