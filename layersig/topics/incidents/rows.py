"""Rows about what scores do not show."""

from __future__ import annotations

from layersig.findings.rows.base import Row, Table


class IncidentRow(Row):
    """What happened to the prompts and answers of an arm in a task or a set of questions, over all its seeds."""

    arm: str
    data: str | None
    task: str
    items: int
    """Items, or answers in conversations, of all seeds together."""
    seeds: int
    """Training runs; 0 for the untouched model."""
    prompts_cut: int
    """Prompts that lost their beginning; in conversations, those that left no room for an answer."""
    answers_cut: int | None
    """Answers that did not end by themselves; null where answers are chosen."""
    answers_empty: int | None
    """Answers of white space alone; null where answers are chosen."""
    ties: int | None
    """Items with several likeliest choices, of which the first was taken; null where answers are not chosen."""
    warnings: tuple[str, ...]
    """A sentence for each kind that concerns more than 5 % of the items."""


INCIDENTS = Table("incidents", IncidentRow)
