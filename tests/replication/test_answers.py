"""What rows of `analysis.json` come to, by the rules that the heads of the recipes declare."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.replication.answers import Holds, Question, settled
from tests.replication.example import EXAMPLE
from tests.replication.expectations import EXPECTED
from tests.replication.extracts import Extract
from tests.replication.pages import figures, pages
from tests.replication.questions import QUESTIONS
from tests.replication.questions.claims import cosine_and_fisher, depends
from tests.replication.views import kept, shares_layers, superior


def correlations(*rows: tuple[float, float, float]) -> Extract:
    """High end over all blocks, low end without the first, corrected p: one data set each."""
    names = {"a": "prompt-cosine", "b": "fisher"}
    found = [{**names, "high": high, "inner_low": low, "adjusted_p": p} for high, low, p in rows]
    return Extract("claim-6", {}, {"block_correlations": found})


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        (((0.9, 0.2, 0.01), (0.8, 0.1, 0.04)), Holds.YES),
        (((0.7, 0.2, 0.01), (0.6, 0.1, 0.04)), Holds.PARTLY),
        (((0.7, -0.2, 0.01), (0.6, 0.1, 0.04)), Holds.NO),
        (((0.7, 0.2, 0.01), (0.6, 0.1, 0.06)), Holds.NO),
        (((0.9, -0.2, 0.5), (0.6, 0.1, 0.04)), Holds.UNDECIDED),
    ],
)
def test_the_claim_on_fisher_information_is_judged_as_declared(
    rows: tuple[tuple[float, float, float], ...], answer: Holds
) -> None:
    assert cosine_and_fisher(correlations(*rows)) is answer


def texts(random_p: float | None, *different: float | None) -> Extract:
    """P of being alike on random tokens, and of the three pairs of tasks being different."""
    pairs = (("chat", "code"), ("chat", "mathematics"), ("code", "mathematics"))
    row = {"scorer": "s", "a": "chat", "b": "random", "text": "random-tokens", "k": 9, "adjusted_p": random_p}
    shared = [
        {"scorer": "s", "across": "data sets", "k": 9, "cells": list(cells), "p_different": p}
        for cells, p in zip(pairs, different, strict=True)
    ]
    together = {"scorer": "s", "across": "data sets", "k": 9, "cells": ["chat", "code", "random"], "p_different": 1e-9}
    return Extract("claim-8-blocks", {}, {"texts": [row], "sharing": [*shared, together]})


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (texts(0.01, 0.5, 0.5, 0.5), False),
        (texts(0.50, 0.01, 0.5, 0.5), True),
        (texts(0.50, 0.02, 0.5, 0.5), None),  # 0.06 for three pairs
        (texts(0.01, 0.001, 0.5, 0.5), False),
        (texts(None, None, None, None), None),
    ],
)
def test_what_a_ranking_depends_on_is_judged_as_declared(found: Extract, answer: bool | None) -> None:
    assert depends(found, "s") is answer


def test_several_verdicts_make_one_answer() -> None:
    assert settled([True, True]) is Holds.YES
    assert settled([False, False]) is settled([False, None]) is Holds.NO
    assert settled([True, None]) is settled([True, False]) is Holds.PARTLY
    assert settled([None, None]) is settled([]) is Holds.UNDECIDED


def test_verdicts_are_read_as_they_are_written() -> None:
    said = {
        "better by more than the margin": (True, True),
        "equivalent": (True, False),
        "not worse by more than the margin": (True, None),
        "not better by more than the margin": (None, False),
        "worse, size unsettled": (False, False),
        "undecided": (None, None),
    }
    for verdict, (as_good, better) in said.items():
        assert (kept({"verdict": verdict}), superior({"verdict": verdict})) == (as_good, better), verdict
    assert shares_layers({"verdict": "shares layers", "p_different": 0.01})
    apart = {"verdict": "sharing not shown", "p_different": 0.01, "ratio": 0.5, "lower": 0.2, "margin": 0.9}
    assert shares_layers(apart) is False
    undecided: list[dict[str, float | None]] = [
        {"p_different": None},
        {"p_different": 0.2},
        {"ratio": 0.8},
        {"lower": None},
    ]
    assert {shares_layers({**apart, **changed}) for changed in undecided} == {None}


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.name for question in QUESTIONS])
def test_a_question_is_answered_from_the_columns_that_extracts_keep(question: Question) -> None:
    answer = question.answer({part: EXAMPLE[part] for part in question.parts})
    assert answer.holds is not Holds.NOT_RUN
    assert any(table.rows for table in answer.tables)
    assert all(len(line) == len(table.header) for table in answer.tables for line in table.rows)
    repeated = question.answer(
        {part: EXAMPLE[part] for part in question.parts} | dict.fromkeys(question.repeats, EXAMPLE[question.parts[0]])
    )
    assert ("the same on other rows" in repeated.evidence) is bool(question.repeats)


@pytest.mark.parametrize("part", EXPECTED)
def test_whether_results_agree_with_a_head_can_be_told(part: str) -> None:
    assert EXPECTED[part].met(EXAMPLE[part]) in (True, False)


def test_a_run_that_declared_too_late_has_a_page_without_a_figure() -> None:
    late = [{**row, "declared": False} for row in EXAMPLE["arms"].rows("comparisons")]
    tables = {**EXAMPLE["arms"].tables, "comparisons": late}
    found = {**EXAMPLE, "arms": replace(EXAMPLE["arms"], tables=tables)}
    assert "few-layers.svg" in figures(EXAMPLE)
    assert "few-layers.svg" not in figures(found)
    assert "few-layers.svg" not in pages(found)["few-layers.md"]


def test_pages_hold_the_numbers_of_extracts() -> None:
    made = pages(EXAMPLE)
    assert "| `ila` | 20 % [20, 20] |" in made["leaderboard.md"]
    assert "- `arms`: something" in made["lab-book.md"]
    assert "data chat (chat.jsonl 0123); 2 seeds; 3 training runs" in made["few-layers.md"]
    one_rate = (
        "**Does it hold here? In part.** With one learning rate for every arm, ila-30 keeps 80 % [20 %, 20 %] on chat"
    )
    assert one_rate in made["few-layers.md"]
    assert "Learning rates that were chosen: all-layers 0.001 (1 of 1)" in made["own-rates.md"]
    assert "| ila-30 | x | 0.200 (1) |" in made["own-rates.md"]
