"""What rows of `analysis.json` come to, by the rules that the heads of the recipes declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.replication.answers import Holds, Question, settled
from tests.replication.example import EXAMPLE
from tests.replication.expectations import EXPECTED
from tests.replication.extracts import Extract, Row
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


def test_of_no_rows_a_claim_is_not_judged() -> None:
    with pytest.raises(ValueError, match="of no rows"):
        cosine_and_fisher(correlations())
    unpaired = texts(0.5, 0.01, 0.01, 0.01)
    with pytest.raises(ValueError, match="of no rows"):
        depends(replace(unpaired, tables={**unpaired.tables, "sharing": []}), "s")


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
    assert answer.evidence.startswith(answer.summary)
    assert answer.summary.endswith(".")
    assert ". " not in answer.summary
    assert any(table.rows for table in answer.tables)
    assert all(len(line) == len(table.header) for table in answer.tables for line in table.rows)
    repeated = question.answer(
        {part: EXAMPLE[part] for part in question.parts} | dict.fromkeys(question.repeats, EXAMPLE[question.parts[0]])
    )
    assert ("the same on other rows" in repeated.evidence) is bool(question.repeats)


# For everything that a head expects: rows of a table that would contradict it, by their columns, and how they would.
CONTRADICTED: Sequence[tuple[str, str, Row, Row]] = (
    ("rankings", "ceilings", {}, {"verdict": "not shown"}),
    ("rankings", "stability", {"quantity": "rescored"}, {"value": 0.9}),
    ("rankings", "sharing", {}, {"verdict": "shares layers"}),
    ("arms", "shares", {}, {"share": 0.4}),
    ("more-arms", "shares", {"arm": "ila-75"}, {"share": 0.4}),
    ("tasks", "comparisons", {}, {"adjusted_p": 0.01}),
    ("estimators", "shares", {"arm": "gradient-norm-30"}, {"share": 0.3}),
    ("estimators", "shares", {"arm": "path-30"}, {"share": 0.3}),
    ("estimators", "estimators", {}, {"reliability_b": 0.6}),
    ("tuned-alone", "shares", {"arm": "ila-30"}, {"share": 0.95}),
    ("tuned-alone", "comparisons", {"role": "rule control"}, {"verdict": "better, size unsettled"}),
    ("own-rates", "trials", {"arm": "all-layers"}, {"learning_rate": 0.004}),
    ("own-rates", "shares", {"arm": "ila-30"}, {"share": 0.5}),
    ("own-rates", "comparisons", {"role": "random control"}, {"verdict": "equivalent"}),
    ("a-tenth", "trials", {"arm": "all-layers"}, {"learning_rate": 0.004}),
    ("a-tenth", "shares", {"arm": "ila-10.random"}, {"share": 0.9}),
    ("a-tenth", "comparisons", {"role": "random control"}, {"verdict": "better, size unsettled"}),
    ("cost", "comparisons", {"arm": "path-30"}, {"verdict": "undecided"}),
    ("cost", "ceilings", {"scorer": "sgd"}, {"kappa": 0.3}),
    ("kinds", "sharing", {"family": "data sets, together"}, {"ratio": 0.7}),
    ("kinds", "carried", {}, {"adjusted_p": 0.01}),
    ("data", "dependence", {}, {"verdict": "depends"}),
    ("pruning", "results", {"arm": "reverse-5"}, {"value": 1.0}),
    ("pruning", "comparisons", {"task": "arithmetic_written"}, {"verdict": "undecided"}),
    ("pruning", "comparisons", {"task": "arc_easy"}, {"adjusted_p": 0.01}),
    ("pruning", "retention", {"task": "arithmetic_answer"}, {"retention": 0.9}),
    ("pruning", "retention", {"task": "arc_easy"}, {"corrected_low": 0.1}),
    ("recovery", "comparisons", {"declared": True}, {"verdict": "undecided"}),
    ("recovery", "comparisons", {"task": "arc_easy"}, {"adjusted_p": 0.01}),
    ("recovery", "comparisons", {"task": "arithmetic_written", "reference": "base"}, {"adjusted_p": 0.2}),
    ("recovery", "own_responses", {}, {"adjusted_p": 0.01}),
    ("claim-6", "block_correlations", {}, {"correlation": 0.8}),
    ("claim-8-blocks", "texts", {}, {"adjusted_p": 0.01}),
    ("claim-8-modules", "texts", {}, {"adjusted_p": 0.01}),
    ("claim-8-modules", "sharing", {}, {"p_different": 0.2}),
    ("claim-8-modules", "concentration", {"data": "random"}, {"selected": 29}),
)


def fits(row: Row, wanted: Row) -> bool:
    return wanted.items() <= row.items()


@pytest.mark.parametrize(("part", "table", "wanted", "change"), CONTRADICTED)
def test_a_head_is_wrong_where_results_say_something_else(part: str, table: str, wanted: Row, change: Row) -> None:
    found = EXAMPLE[part]
    rows = [{**row, **change} if fits(row, wanted) else row for row in found.rows(table)]
    assert EXPECTED[part].met(found)
    assert not EXPECTED[part].met(replace(found, tables={**found.tables, table: rows}))


@pytest.mark.parametrize(("part", "table", "wanted"), [each[:3] for each in CONTRADICTED])
def test_of_no_rows_a_head_says_nothing(part: str, table: str, wanted: Row) -> None:
    found = EXAMPLE[part]
    rows = [row for row in found.rows(table) if not fits(row, wanted)]
    with pytest.raises((ValueError, KeyError)):
        EXPECTED[part].met(replace(found, tables={**found.tables, table: rows}))


def test_every_head_can_be_contradicted() -> None:
    assert {part for part, *_ in CONTRADICTED} == set(EXPECTED)


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
    assert "| ila-30 | x | failed | 0.200 (1) |" in made["own-rates.md"]
