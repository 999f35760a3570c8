from __future__ import annotations

import pytest

from layersig.findings.outcomes import Measure
from layersig.report import markdown, numbers
from layersig.report.document import Code, Column, Table, columns
from layersig.report.lifted import lifted

ACC, LOSS = Measure("t", "acc"), Measure("t", "loss")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.number(-0.012345), "\u22120.0123"),
        (numbers.number(0.0), "0"),
        (numbers.number(None), "\u2013"),
        (numbers.number(12345.6), "12,346"),
        (numbers.number(999.6), "1,000"),
        (numbers.number(999.4), "999"),
        (numbers.p_value(0.0004), "<0.001"),
        (numbers.p_value(0.0416), "0.042"),
        (numbers.value_of(ACC, 0.4127), "41.3 %"),
        (numbers.difference_of(ACC, -0.0127), "\u22121.3"),
        (numbers.difference_of(LOSS, 0.01234), "+0.0123"),
        (numbers.difference_of(LOSS, 3.8e18), "+3.8e+18"),
        (numbers.interval_of(LOSS, None, 0.5), "[\u2212\u221e, +0.5000]"),
        (numbers.interval_of(LOSS, None, None), "not estimable"),
        (numbers.set_of("interval", 0.62, 1.041, numbers.percent), "[62 %, 104 %]"),
        (numbers.set_of("two rays", -0.5, 2.0, numbers.percent), "outside [\u221250 %, 200 %]"),
        (numbers.set_of("everything", None, None, numbers.percent), "excludes nothing"),
        (numbers.set_of(None, None, None, numbers.percent), "\u2013"),
        (numbers.seconds(59.94), "59.9 s"),
        (numbers.seconds(119.7), "2 min 00 s"),
        (numbers.seconds(7260), "2 h 01 min"),
        (numbers.size(3 * 2**29), "1.50 GiB"),
        (numbers.plural(1, "seed"), "1 seed"),
        (numbers.plural(12345, "seed"), "12\u202f345 seeds"),
    ],
)
def test_numbers_as_a_reader_wants_them(shown: str, expected: str) -> None:
    assert shown == expected


def test_markdown_escapes_a_bar_in_code_in_a_table_alone() -> None:
    code = (Code("a|b"),)
    assert markdown._text(code) == "`a|b`"
    table = Table("caption", (Column("head"),), (code,))
    assert "| `a\\|b` |" in markdown._table(table)


def test_columns_of_one_head_are_both_said_where_they_are_lifted() -> None:
    heads = columns("arm", "#p", "#p", "#n", "#gap", "#gap", "#S")
    rows = (("a", "0.1", "0.2", "5", "\u2013", "\u2013", "3"), ("b", "0.1", "0.2", "6", "\u2013", "\u2013", "4"))
    slim, said = lifted(Table("caption", heads, rows))
    assert [column.head for column in slim.columns] == ["arm", "n", "S"]
    assert said == "In every row: p 0.1; p 0.2. Nothing in: gap, gap."
