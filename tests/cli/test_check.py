"""`layersig check`: printed numbers in, what they can mean out."""

from __future__ import annotations

import csv
import io
import json

import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from tests.study import call

OVERLAP = ("--n", "225", "--k", "169")
ACCURACIES = ("--accuracy", "45.78", "44.58", "--items", "14042")
TABLE = """name,n,k,jaccard,accuracy_a,accuracy_b,items,discordant
seeds,225,169,.92,,,,
across,225,169,.70,,,,
odd,10,5,.50,,,,
mmlu,,,,45.78,44.58,14042,
pairs,,,,45.78,44.58,14042,10%
few,,,,61.3,55.0,80,
"""


def rows(capsys, *arguments):
    code, out, _ = call(capsys, "check", *arguments, "--json")
    assert code == 0
    return json.loads(out.splitlines()[-1])["rows"]


@pytest.mark.parametrize(
    "given",
    [
        ("--jaccard", ".90"),
        ("--jaccard", "90%"),
        ("--shared", "160"),
        ("--shared", "94.7%"),
        ("--agreement", "0.92"),
    ],
)
def test_one_overlap_in_every_notation(capsys, given):
    (row,) = rows(capsys, *OVERLAP, *given)
    assert row["shared"] == [160, 160]
    assert row["kappa"] == pytest.approx([0.786] * 2, abs=1e-3)
    assert row["chance"]["jaccard"] == pytest.approx(0.602, abs=1e-3)
    assert row["verdict"] == "significant"
    assert "overlap more than random sets do" in " ".join(row["sentences"])


def test_rounding_decides_what_is_known(capsys):
    (coarse,) = rows(capsys, *OVERLAP, "--jaccard", "0.6")
    assert coarse["shared"] == [120, 133]
    assert coarse["verdict"] == "undetermined"
    (fine,) = rows(capsys, *OVERLAP, "--jaccard", "0.602")
    assert (fine["shared"], fine["verdict"]) == ([127, 127], "not significant")


def test_sets_of_two_sizes(capsys):
    (row,) = rows(capsys, "--n", "40", "--k", "10", "--k", "25", "--shared", "3")
    assert (row["kappa"][0] < 0, row["verdict"]) == (True, "significant")
    assert "overlap less than random sets do" in " ".join(row["sentences"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--n", "10", "--k", "5", "--jaccard", ".50"), "0.428571 (3 shared) and 0.666667 (4 shared)"),
        ((*OVERLAP, "--jaccard", ".30"), "lies between 0.5022 and 1"),
        ((*OVERLAP, "--shared", "170"), "lies between 113 and 169"),
        ((*OVERLAP, "--agreement", "0.4"), "lies between 0.5022 and 1"),
        (("--n", "9", "--k", "5", "--jaccard", "0.66"), "cut off instead of rounded, it stands for 4"),
        (("--accuracy", "61.30", "55.00", "--items", "80"), "accuracy_a 61.30 is impossible"),
        (("--accuracy", "61.25", "55.10", "--items", "80"), "accuracy_b 55.10 is impossible"),
        (("--accuracy", "0.333", "0.667", "--items", "4"), "0.25 (1) and 0.5 (2)"),
        ((*ACCURACIES, "--discordant", "100"), "differ on 168 to 12689 of 14042"),
        (("--accuracy", "60", "50", "--items", "10", "--discordant", "4"), "an even number of items more"),
    ],
)
def test_impossible_numbers_are_said_to_be_impossible(capsys, arguments, said):
    (row,) = rows(capsys, *arguments)
    assert row["verdict"] == "impossible"
    assert said in row["sentences"][0]
    assert "p" not in row


def test_two_accuracies_leave_the_paired_test_open(capsys):
    (row,) = rows(capsys, *ACCURACIES)
    assert row["solved"] == [[6428, 6429], [6260, 6260]]
    assert row["p"] == pytest.approx([2.0**-168, 0.138], rel=0.01)
    assert (row["verdict"], row["significant_up_to"]) == ("undetermined", 7260)
    assert row["unpaired"]["low"] == pytest.approx(0.0003, abs=1e-4)
    (known,) = rows(capsys, *ACCURACIES, "--discordant", "1200")
    assert known["verdict"] == "significant"
    (as_shares,) = rows(capsys, "--accuracy", "0.4578", "0.4458", "--items", "14042")
    assert as_shares["solved"] == row["solved"]


def test_a_table_is_one_family(capsys, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    found = rows(capsys, table)
    assert [row["verdict"] for row in found] == [
        "significant",
        "significant",
        "impossible",
        "undetermined",
        "significant",
        "not significant",
    ]
    tested = [row for row in found if "p" in row]
    for end in (0, 1):
        expected = multipletests([row["p"][end] for row in tested], method="holm")[1]
        assert [row["adjusted_p"][end] for row in tested] == pytest.approx(expected)
    _, out, _ = call(capsys, "check", table, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [line["verdict"] for line in lines] == [row["verdict"] for row in found]
    assert float(lines[0]["kappa_low"]) == found[0]["kappa"][0]
    _, out, _ = call(capsys, "check", table)
    losses = max(each for each in range(5000) if 2 * binom.cdf(each, 168 + 2 * each, 0.5) <= 0.05 / 5)
    assert f"at most {168 + 2 * losses} items" in out
    assert out.count("What they leave open") == 2


def test_ends_of_the_scales(capsys):
    (equal,) = rows(capsys, *OVERLAP, "--jaccard", "1.00")
    assert (equal["shared"], equal["kappa"]) == ([169, 169], [1.0, 1.0])
    (everything,) = rows(capsys, "--n", "20", "--k", "20", "--shared", "20")
    assert (everything["kappa"], everything["verdict"]) == (None, "not significant")
    (none,) = rows(capsys, "--n", "100", "--k", "10", "--jaccard", "0.00")
    assert (none["shared"], none["in_play"]) == ([0, 0], None)
    (same,) = rows(capsys, "--accuracy", "100%", "100%", "--items", "50", "--discordant", "0")
    assert (same["p"], same["discordant"]) == ([1.0, 1.0], [0, 0])
    (percent,) = rows(capsys, "--accuracy", "1%", "0%", "--items", "100")
    assert percent["solved"] == [[1, 1], [0, 0]]


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_delimiters_order_and_bom(capsys, tmp_path, delimiter):
    table = tmp_path / "table.txt"
    cells = [["Jaccard", "K", "N"], [".90", "169", "225"], ["", "", ""]]
    table.write_text("\n" + "\r\n".join(delimiter.join(row) for row in cells), encoding="utf-8-sig")
    (row,) = rows(capsys, table)
    assert (row["name"], row["shared"]) == ("row 3", [160, 160])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a TABLE or the numbers"),
        ((*OVERLAP,), "exactly one of jaccard, shared, agreement"),
        ((*OVERLAP, "--jaccard", ".9", "--shared", "160"), "exactly one of"),
        ((*OVERLAP, "--jaccard", "90"), "write a percentage with its sign"),
        ((*OVERLAP, "--jaccard", "high"), "jaccard: 'high' is not a number"),
        ((*OVERLAP, "--jaccard", ""), "jaccard is empty"),
        ((*OVERLAP, "--shared", "159.5"), "not a whole number"),
        (("--n", "225", "--k", "300", "--jaccard", ".9"), "cannot be chosen from n = 225"),
        (("--n", "22.5", "--k", "3", "--jaccard", ".9"), "n: '22.5' is not a whole number"),
        (("--k", "3", "--jaccard", ".9"), "n is missing"),
        (("--n", "9", "--k", "3", "--k", "4", "--k", "5", "--shared", "1"), "--k is given once"),
        ((*OVERLAP, "--jaccard", "1"), "without decimals"),
        ((*OVERLAP, "--agreement", "0"), "without decimals"),
        (("--accuracy", "1", "0.5", "--items", "10"), "accuracy_a: 1 without decimals"),
        (("--accuracy", "45.78", "44.58"), "items is missing"),
        (("--accuracy", "145.78", "44.58", "--items", "100"), "more than 100 %"),
        (("--accuracy", "45.78", "44.58", "--items", "1"), "not a whole number from 2"),
        ((*ACCURACIES, "--n", "225"), "cannot be mixed"),
        ((*ACCURACIES, "--discordant", "12.5"), "write a share of the items as a percentage"),
    ],
)
def test_what_cannot_be_read_ends_with_2(capsys, arguments, said):
    code, out, err = call(capsys, "check", *arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no rows"),
        ("n,k,jaccard\n", "there are no rows"),
        ("n,k,jacard\n9,3,.5\n", ":1: there is no column 'jacard'; did you mean jaccard?"),
        ("n,n,k\n9,9,3\n", "two columns are called n"),
        ("n,k,jaccard\n9,3,.5,7\n", ":2: 4 cells, but 3 columns"),
        ('n,k,jaccard\n9,3,"x\n', "cannot be read as CSV"),
        ("name,n,k,jaccard\na,9,3,.5\nb,9,30,.5\nc,9,3,x\n", ":3: b: k: a set of 30"),
        ("name,n,k,jaccard\na,9,3,.5\nb,9,30,.5\nc,9,3,x\n", ":4: c: jaccard: 'x' is not a number"),
        ("name,n\nx,\n", "neither an overlap"),
    ],
)
def test_a_table_that_cannot_be_read_names_its_lines(capsys, tmp_path, text, said):
    table = tmp_path / "table.csv"
    table.write_text(text)
    code, _, err = call(capsys, "check", table)
    assert code == 2
    assert said in err


def test_files_that_are_none(capsys, tmp_path):
    (tmp_path / "latin.csv").write_bytes("name,n,k,jaccard\né,9,3,.5\n".encode("latin-1"))
    for name, said in (("absent.csv", "no such file"), ("", "is a folder"), ("latin.csv", "not UTF-8")):
        code, _, err = call(capsys, "check", tmp_path / name)
        assert (code, said in err) == (2, True)
