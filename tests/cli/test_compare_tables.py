"""Tables of per-item results are compared like runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tests.cli.comparing import comparisons
from tests.study import call

LONG = "item,model,seed,value\n" + "".join(
    f"q{item},{arm},{seed},{(item * 7 + seed + (arm == 'b') * item) % 5 / 5}\n"
    for arm in "ab"
    for seed in range(3)
    for item in range(12)
)


def test_long_and_wide_tables_give_what_scipy_gives(capsys, tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.random(25), rng.random(25)
    wide = tmp_path / "wide.csv"
    wide.write_text("base,tuned\n" + "".join(f"{one},{two}\n" for one, two in zip(a, b, strict=True)))
    (row,), _ = comparisons(capsys, wide)
    assert (row["arm"], row["reference"], row["n"]) == ("tuned", "base", 25)
    expected = ttest_rel(b, a).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    for name, column in (("x.tsv", a), ("y.tsv", b)):
        lines = [f"{item}\t{value}\n" for item, value in enumerate(column)]
        rng.shuffle(lines)
        (tmp_path / name).write_text("item\tvalue\n" + "".join(lines))
    (again,), _ = comparisons(capsys, tmp_path / "x.tsv", tmp_path / "y.tsv")
    assert (again["low"], again["high"]) == pytest.approx((row["low"], row["high"]))


def test_a_table_with_seeds_is_a_claim_about_methods(capsys, tmp_path):
    table = tmp_path / "long.csv"
    table.write_text(LONG)
    (row,), _ = comparisons(capsys, table)
    assert (row["seeds"], row["scope"], row["n"]) == (3, "method", 12)
    (turned,), _ = comparisons(capsys, f"{table}:b", f"first={table}:a")
    assert (turned["arm"], turned["difference"]) == ("first", pytest.approx(-row["difference"]))


def test_samples_in_a_table_are_clusters(capsys, tmp_path):
    table = tmp_path / "samples.csv"
    rows = [f"q{item},{arm},{(item + arm) % 2}" for item in range(10) for arm in (0, 1) for _ in range(4)]
    table.write_text("item,arm,value\n" + "\n".join(rows))
    (row,), err = comparisons(capsys, table)
    assert "clustered by item" in err
    assert (row["n"], row["test"]) == (40, "sign flip (items)")
    # Ten items that differ by +1 and -1 in turn, whatever the number of copies.
    assert row["p"] == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,arm,value\nq,a,1\n", "only one arm"),
        ("item,arm,value\n", "there are no rows"),
        ("item,arm,value\nq,a,1\nq,b,high\n", ":3: value: 'high' is neither a number nor true or false"),
        ("item,arm,value\nq,a,1\nq,b,\n", ":3: value: '' is neither a number nor true or false"),
        ("item,arm,value\nq,a,1\nq,b,nan\n", ":3: value is nan"),
        ("item,arm,value\nq,a,1\np,b,1\n", "not measured on the same items"),
        ("item,arm,value,seed\nq,a,1,0\nq,b,1,x\n", ":3: seed: 'x'"),
        ("item,arm,value,seed\nq,a,1,0\nq,b,1,1\n", "no seed in common"),
        ("item,arm,value,seed\nq,a,1,0\nq,a,1,\nq,b,1,1\n", "some rows have a seed and some have none"),
        ("item,arm,value,extra\nq,a,1,0\n", "there is a column 'extra'"),
        ("item,a,a\nq,1,1\n", "two columns are called 'a'"),
        ("item,arm,value\n,a,1\n", "the item has no name"),
        ("item,arm,value\nq,a\n", "value: '' is neither a number nor true or false"),
        ("item\nq\n", "neither a column `value`"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_place(capsys, tmp_path, text, said):
    table = tmp_path / "table.csv"
    table.write_text(text)
    code, out, err = call(capsys, "compare", table)
    assert (code, out) == (2, "")
    assert said in err


def test_names_that_do_not_go_together(capsys, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("item,a,b\nq,1,0\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for names, said in (
        ((table, "quickstart"), "runs are not compared with such"),
        ((tmp_path / "absent.csv", tmp_path / "other.csv"), "absent.csv: there is no such file"),
        ((table, tmp_path / "samples_x.jsonl"), "samples_x.jsonl: there is no such file"),
        ((table, tmp_path / "empty"), "holds no samples_*.jsonl"),
        ((table, tmp_path / "notes.txt"), "neither a run"),
        ((f"{table}:c",), "has no arm 'c'; it has: a, b"),
        ((f"x={table}:a", f"x={table}:b"), "give it once"),
    ):
        code, _, err = call(capsys, "compare", *names)
        assert (code, said in err) == (2, True), err
